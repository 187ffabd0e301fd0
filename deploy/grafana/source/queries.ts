/**
 * PromQL, as far as the dashboards say the same thing again and again. The names are those that metrics have in Prometheus,
 * whether it scraped them from a Collector or received them by OTLP.
 */

/** `name{selector}`, with every selector that is not empty. */
export const series = (name: string, ...selectors: string[]): string =>
  `${name}{${selectors.filter(Boolean).join(', ')}}`;

const by = (labels: string): string => (labels === '' ? '' : ` by (${labels})`);

/** How much it grew in the time range. */
export const grown = (of: string, labels = ''): string => `sum${by(labels)} (increase(${of}[$__range]))`;

export const perSecond = (of: string, labels = ''): string =>
  `sum${by(labels)} (rate(${of}[$__rate_interval]))`;
export const perMinute = (of: string, labels = ''): string => `${perSecond(of, labels)} * 60`;

/** Where nothing was ever counted there is no series: then it is none, and not unknown. */
export const orNone = (expr: string): string => `${expr} or vector(0)`;

/** The same for the rows of a table: none of a whole that is there. */
export const orNoneOf = (part: string, whole: string): string => `${part} or ${whole} * 0`;

/** Nothing where there is no whole. */
export const share = (part: string, whole: string): string => `(${part}) / (${whole} > 0)`;

export const quantileNow = (q: number, histogram: string, labels = ''): string =>
  `histogram_quantile(${q}, ${perSecond(histogram, ['le', labels].filter(Boolean).join(', '))})`;

export const quantileOfRange = (q: number, histogram: string, labels = ''): string =>
  `histogram_quantile(${q}, ${grown(histogram, ['le', labels].filter(Boolean).join(', '))})`;
