/**
 * What the dashboards are made of: panels over queries, under Grafana's own types. A panel says what it shows; its place, its
 * number and everything that all panels have alike come from here.
 */
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  type Dashboard,
  FieldColorModeId,
  type FieldConfig,
  GraphDrawStyle,
  LegendDisplayMode,
  type Panel,
  PercentChangeColorMode,
  type RowPanel,
  SortOrder,
  StackingMode,
  ThresholdsMode,
  TooltipDisplayMode,
  type VariableModel,
  VariableRefresh,
  VariableSort,
  VisibilityMode,
  VizOrientation,
} from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type {
  Options as TimeSeriesOptions,
  FieldConfig as TimeSeriesStyle,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** Grafana migrates from any older one; this is the last of the classic model. */
const SCHEMA_VERSION = 42;
const GRID_WIDTH = 24;

const DATA_SOURCE = { type: 'prometheus', uid: '$datasource' };

/** Units by Grafana's names. */
export type Unit =
  | 'locale'
  | 's'
  | 'percentunit'
  | 'currencyUSD'
  | 'suffix:/min'
  | 'suffix:/s'
  | 'suffix: $/h';

export interface Query {
  expr: string;
  /** What a series is called: text, and labels in double braces. */
  legend: string;
  /** Points lead to traces. */
  exemplar?: boolean;
}

interface Described {
  title: string;
  description?: string;
}

export interface Stat extends Described {
  expr: string;
  unit?: Unit;
  decimals?: number;
  /** One of it is one too many: the figure is red. */
  is_bad?: boolean;
  /** What is there instead of a figure where there is none. */
  no_value?: string;
}

export interface Chart extends Described {
  queries: Query[];
  unit: Unit;
  /** Only for parts of one whole. */
  stacked?: boolean;
}

export interface Column {
  title: string;
  expr: string;
  unit?: Unit;
}

export interface Table extends Described {
  /** Prometheus' label that the rows are by, and what its column is called. */
  rows: { label: string; title: string }[];
  columns: Column[];
}

/** A panel without its place. */
type Placed = Panel & { width: number; height: number };

export interface Section {
  title: string;
  panels: Placed[];
}

const refId = (index: number): string => String.fromCharCode('A'.charCodeAt(0) + index);

const base = ({ title, description }: Described) => ({
  title,
  ...(description === undefined ? {} : { description }),
  datasource: DATA_SOURCE,
});

/** A count is a whole number, but what Prometheus makes of it over a range is not. */
const ALMOST_ONE = 0.5;

const numberOf = (unit: Unit, decimals = unit === 'locale' ? 0 : undefined) => ({
  unit,
  ...(decimals === undefined ? {} : { decimals }),
});

/** One figure for the whole time range. */
export function stat(stat: Stat): Placed {
  const { expr, unit = 'locale', decimals, is_bad = false, no_value, ...rest } = stat;
  const options: StatOptions = {
    colorMode: BigValueColorMode.Value,
    graphMode: BigValueGraphMode.None,
    justifyMode: BigValueJustifyMode.Auto,
    orientation: VizOrientation.Auto,
    percentChangeColorMode: PercentChangeColorMode.Standard,
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    showPercentChange: false,
    textMode: BigValueTextMode.Auto,
    wideLayout: true,
  };
  const steps = [{ value: null, color: 'text' }, ...(is_bad ? [{ value: ALMOST_ONE, color: 'red' }] : [])];
  const defaults: FieldConfig = {
    ...numberOf(unit, decimals),
    color: { mode: FieldColorModeId.Thresholds },
    thresholds: { mode: ThresholdsMode.Absolute, steps },
    ...(no_value === undefined ? {} : { noValue: no_value }),
  };
  return {
    ...base(rest),
    type: 'stat',
    options: { ...options },
    fieldConfig: { defaults, overrides: [] },
    targets: [{ refId: 'A', datasource: DATA_SOURCE, expr, instant: true, range: false }],
    width: 3,
    height: 4,
  };
}

/** Series over time. */
export function chart({ queries, unit, stacked = false, ...rest }: Chart): Placed {
  const options: TimeSeriesOptions = {
    legend: { calcs: [], displayMode: LegendDisplayMode.List, placement: 'bottom', showLegend: true },
    tooltip: { mode: TooltipDisplayMode.Multi, sort: SortOrder.Descending },
  };
  const custom: TimeSeriesStyle = {
    drawStyle: GraphDrawStyle.Line,
    fillOpacity: stacked ? 30 : 10,
    showPoints: VisibilityMode.Auto,
    spanNulls: false,
    stacking: { mode: stacked ? StackingMode.Normal : StackingMode.None, group: 'A' },
  };
  const defaults: FieldConfig = { ...numberOf(unit), min: 0, custom: { ...custom } };
  return {
    ...base(rest),
    type: 'timeseries',
    options: { ...options },
    fieldConfig: { defaults, overrides: [] },
    targets: queries.map(({ expr, legend, exemplar = false }, index) => ({
      refId: refId(index),
      datasource: DATA_SOURCE,
      expr,
      legendFormat: legend,
      range: true,
      ...(exemplar ? { exemplar } : {}),
    })),
    width: 12,
    height: 8,
  };
}

/** A row for each value of a label, a column for each query, for the whole time range. */
export function table({ rows, columns, ...rest }: Table): Placed {
  const options: TableOptions = {
    frameIndex: 0,
    showHeader: true,
    sortBy: [{ displayName: columns[0]?.title ?? '', desc: true }],
  };
  const names = [
    ...rows.map(({ label, title }) => [label, title] as const),
    ...columns.map(({ title }, index) => [`Value #${refId(index)}`, title] as const),
  ];
  return {
    ...base(rest),
    type: 'table',
    options: { ...options },
    fieldConfig: {
      defaults: {},
      overrides: columns.map(({ title, unit = 'locale' }) => ({
        matcher: { id: 'byName', options: title },
        properties: Object.entries(numberOf(unit)).map(([id, value]) => ({ id, value })),
      })),
    },
    targets: columns.map(({ expr }, index) => ({
      refId: refId(index),
      datasource: DATA_SOURCE,
      expr,
      format: 'table',
      instant: true,
      range: false,
    })),
    transformations: [
      { id: 'merge', options: {} },
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: Object.fromEntries(names.map(([name], index) => [name, index])),
          renameByName: Object.fromEntries(names),
        },
      },
    ],
    width: 24,
    height: 8,
  };
}

/** Fills each line of the grid from the left, and begins a new one where a panel does not fit any more. */
function place(sections: Section[]): (Panel | RowPanel)[] {
  const placed: (Panel | RowPanel)[] = [];
  let y = 0;
  const nextId = (): number => placed.length + 1;
  for (const { title, panels } of sections) {
    placed.push({
      id: nextId(),
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y, w: GRID_WIDTH, h: 1 },
    });
    y += 1;
    let x = 0;
    let line_height = 0;
    for (const { width, height, ...panel } of panels) {
      if (x + width > GRID_WIDTH) {
        y += line_height;
        x = 0;
        line_height = 0;
      }
      placed.push({ id: nextId(), ...panel, gridPos: { x, y, w: width, h: height } });
      x += width;
      line_height = Math.max(line_height, height);
    }
    y += line_height;
  }
  return placed;
}

const dataSourceVariable: VariableModel = {
  type: 'datasource',
  name: 'datasource',
  label: 'Data source',
  query: 'prometheus',
};

/** A choice of a label's values, all of them at first; metrics without the label belong to all. */
export const labelVariable = (name: string, label: string, metric: string, title: string): VariableModel => ({
  type: 'query',
  name,
  label: title,
  datasource: DATA_SOURCE,
  query: { query: `label_values(${metric}, ${label})`, refId: 'Variable' },
  refresh: VariableRefresh.onTimeRangeChanged,
  sort: VariableSort.alphabeticalAsc,
  multi: true,
  includeAll: true,
  allValue: '.*',
  current: { text: ['All'], value: ['$__all'] },
});

export interface DashboardText {
  uid: string;
  title: string;
  description: string;
}

export const dashboard = (
  { uid, title, description }: DashboardText,
  variables: VariableModel[],
  sections: Section[],
): Dashboard => ({
  uid,
  title,
  description,
  tags: ['openclaw'],
  schemaVersion: SCHEMA_VERSION,
  editable: true,
  refresh: '30s',
  time: { from: 'now-1h', to: 'now' },
  links: [
    {
      asDropdown: false,
      icon: 'external link',
      includeVars: false,
      keepTime: true,
      tags: ['openclaw'],
      targetBlank: false,
      title: 'OpenClaw',
      tooltip: '',
      type: 'dashboards',
    },
  ],
  templating: { list: [dataSourceVariable, ...variables] },
  panels: place(sections),
});
