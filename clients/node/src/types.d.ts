import type { IncomingMessage, ServerResponse } from 'node:http';

export interface ReporterOptions {
  /** `http(s)://{token}@{host}/{trafficSourceId}`; by default that of the environment's `ARKYN_DSN`. */
  dsn?: string;
  /** Globs of paths that are not reported; `*` stands for any characters, slashes included. */
  ignore?: string[];
  /** Names of headers and query parameters to redact, beyond the default ones. */
  redact?: string[];
  /** The address of the application to report, such as `https://shop.example`, instead of the request's `Host`. */
  domainUrl?: string;
  /** Takes scheme and host from `X-Forwarded-Proto` and `X-Forwarded-Host`. Only behind a proxy that sets them. */
  trustProxy?: boolean;
  /** How much memory reports may take while they wait; 16 MiB by default. */
  maxQueueBytes?: number;
}

export interface ReportedCall {
  status: number;
  /** `GET` by default. */
  method?: string;
  /** An absolute URL, or a path at `domainUrl`. */
  url: string;
  elapsedMs: number;
  /** When the request began; by default `elapsedMs` ago. */
  occurredAt?: Date | number | string;
}

export interface Reporting {
  /** Wraps a listener of `node:http`, `node:https` or `node:http2`. An Express application is one, too. */
  wrap<Listener extends (...args: any[]) => unknown>(listener: Listener): Listener;
  /** A plugin for Fastify 4 and 5. */
  fastify(instance: any, options: unknown, done: (error?: Error) => void): void;
  /** Reports a request that no adapter saw. Never throws. */
  report(call: ReportedCall): void;
  /** Resolves to whether all reports up to now were sent within the time (2,000 ms by default). Never rejects. */
  flush(timeoutMs?: number): Promise<boolean>;
}

/** A middleware for Express and Connect that carries the other ways in. */
export interface Reporter extends Reporting {
  (req: IncomingMessage, res: ServerResponse, next: (error?: any) => void): void;
}

/** Makes reporters. Its own members belong to one reporter of `ARKYN_DSN`, made when it is first used. */
export interface ReporterFactory extends Reporting {
  /**
   * Without options it is always the same one. Throws a TypeError for a malformed DSN or option. Without a DSN the
   * reporter does nothing, and warns once.
   */
  (options?: ReporterOptions): Reporter;
}
