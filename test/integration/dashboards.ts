/**
 * The queries that Grafana sends to Prometheus for the shipped dashboards: each query of each panel, with the variables
 * filled in, evaluated once at the end of the time range.
 */
import { readShipped } from './stack.js';

export interface PanelQuery {
  /** The titles of the dashboard and the panel and, in a table, of the column. */
  name: string;
  expr: string;
}

interface Panel {
  type: string;
  title: string;
  targets?: { refId: string; expr: string; legendFormat?: string }[];
  transformations?: { id: string; options: { renameByName?: Record<string, string> } }[];
}

interface DashboardFile {
  title: string;
  panels: Panel[];
  templating: { list: { name: string; query: string | { query: string } }[] };
}

export const RANGE = '10m';

/** All values are selected; a rate covers the whole range. */
const VARIABLES: Record<string, string> = {
  $agent: '.*',
  $destination: '.*',
  $__range: RANGE,
  $__rate_interval: RANGE,
};

const fillIn = (expr: string): string =>
  Object.entries(VARIABLES).reduce((filled, [name, value]) => filled.replaceAll(name, value), expr);

const readDashboard = async (name: string): Promise<DashboardFile> =>
  JSON.parse(await readShipped(`deploy/grafana/dashboards/${name}.json`));

function queriesOf(
  { type, title, targets = [], transformations = [] }: Panel,
  dashboard: string,
): PanelQuery[] {
  const columns = transformations.find(({ id }) => id === 'organize')?.options.renameByName ?? {};
  return targets.map(({ refId, expr, legendFormat }) => {
    const part =
      type === 'table' ? columns[`Value #${refId}`] : targets.length > 1 ? legendFormat : undefined;
    return {
      name: [dashboard, title, part].filter((each) => each !== undefined).join(' / '),
      expr: fillIn(expr),
    };
  });
}

/** All queries of a dashboard's panels. */
export async function panelQueries(name: string): Promise<PanelQuery[]> {
  const { title, panels } = await readDashboard(name);
  return panels.flatMap((panel) => queriesOf(panel, title));
}

/** The metrics and labels that supply a dashboard's variables with values. */
export async function variableQueries(name: string): Promise<{ metric: string; label: string }[]> {
  const { templating } = await readDashboard(name);
  return templating.list.flatMap(({ query }) => {
    if (typeof query === 'string') return [];
    const [, metric, label] = /^label_values\((\S+), (\S+)\)$/.exec(query.query) ?? [];
    if (metric === undefined || label === undefined) throw new Error(`unsupported query:  ${query.query}`);
    return [{ metric, label }];
  });
}
