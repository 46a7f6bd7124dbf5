import type { ReportedCall, Reporter, ReporterFactory, ReporterOptions } from './types.js';

declare const reporter: ReporterFactory;

export type { ReportedCall, Reporter, ReporterOptions };
export declare const wrap: ReporterFactory['wrap'];
export declare const fastify: ReporterFactory['fastify'];
export declare const report: ReporterFactory['report'];
export declare const flush: ReporterFactory['flush'];
export { reporter };
export default reporter;
