import type * as types from './types.js';

declare const reporter: types.ReporterFactory & { reporter: types.ReporterFactory; default: types.ReporterFactory };

declare namespace reporter {
  type ReporterOptions = types.ReporterOptions;
  type ReportedCall = types.ReportedCall;
  type Reporter = types.Reporter;
}

export = reporter;
