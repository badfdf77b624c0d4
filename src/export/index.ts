/** Students in the formats of software that people serve models with. */
export { exportDtypes, type ExportDtype, type Exporter, type ExportSource } from './exporter.ts';
export { exportModel, type ExportReceipt } from './export-model.ts';
export { formats, type ExportFormat } from './formats.ts';
export { openExportSource } from './open-source.ts';
