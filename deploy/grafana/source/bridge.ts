/**
 * The dashboard *Bridge*: what came in, what became of it at each destination, what waits, and by which reason anything was
 * lost. The figures of now are those that the last collection told.
 */
import type { Dashboard } from '@grafana/schema';
import { chart, dashboard, labelVariable, type Section, stat, table } from './panels.js';
import { grown, orNone, orNoneOf, perMinute, perSecond, quantileNow, series } from './queries.js';

const PRODUCED = 'openclaw_otel_bridge_produced_total';
const DELIVERED = 'openclaw_otel_bridge_delivered_total';
const REJECTED = 'openclaw_otel_bridge_rejected_total';
const DROPPED = 'openclaw_otel_bridge_dropped_total';
const PENDING = 'openclaw_otel_bridge_pending';
const EVENTS = 'openclaw_otel_bridge_events_total';
const EXPORT = 'openclaw_otel_bridge_export_duration_seconds';

const toDestinations = (name: string): string => series(name, 'destination=~"$destination"');
/** Lines that were bad have no destination; what one refused has. */
const REFUSED = series(REJECTED, 'destination!=""', 'destination=~"$destination"');
const BAD_LINES = series(REJECTED, 'destination=""');

const LANE = 'destination, signal';
const BY_LANE = '{{destination}} {{signal}}';

const now = (of: string, labels = ''): string => `sum${labels === '' ? '' : ` by (${labels})`} (${of})`;

const overview: Section = {
  title: 'In the time range',
  panels: [
    stat({ title: 'Events', description: 'Events that were decoded.', expr: orNone(grown(series(EVENTS))) }),
    stat({
      title: 'Bad lines',
      description: 'Lines that could not be decoded; none stops the stream.',
      expr: orNone(grown(BAD_LINES)),
      is_bad: true,
    }),
    stat({ title: 'Produced', expr: orNone(grown(toDestinations(PRODUCED))) }),
    stat({ title: 'Delivered', expr: orNone(grown(toDestinations(DELIVERED))) }),
    stat({ title: 'Pending now', expr: orNone(now(toDestinations(PENDING))) }),
    stat({
      title: 'Refused',
      description: 'Items that a destination rejected permanently: `dead-letters list` shows them.',
      expr: orNone(grown(REFUSED)),
      is_bad: true,
    }),
    stat({
      title: 'Dropped',
      description: 'Items dropped because of a limit, before a destination accepted them.',
      expr: orNone(grown(toDestinations(DROPPED))),
      is_bad: true,
    }),
    stat({
      title: 'Unaccounted for',
      description: 'produced − delivered − pending − refused − dropped; always 0.',
      expr: [
        now(toDestinations(PRODUCED)),
        now(toDestinations(DELIVERED)),
        now(toDestinations(PENDING)),
        `(${orNone(now(REFUSED))})`,
        `(${orNone(now(toDestinations(DROPPED)))})`,
      ].join(' - '),
      is_bad: true,
      no_value: '–',
    }),
  ],
};

const incoming: Section = {
  title: 'In',
  panels: [
    chart({
      title: 'Events',
      queries: [{ expr: perSecond(series(EVENTS)), legend: 'events' }],
      unit: 'suffix:/s',
    }),
    chart({
      title: 'Bad lines by reason',
      queries: [{ expr: perMinute(BAD_LINES, 'reason'), legend: '{{reason}}' }],
      unit: 'suffix:/min',
    }),
  ],
};

const outgoing: Section = {
  title: 'Out',
  panels: [
    chart({
      title: 'Produced',
      queries: [{ expr: perSecond(toDestinations(PRODUCED), LANE), legend: BY_LANE }],
      unit: 'suffix:/s',
    }),
    chart({
      title: 'Delivered',
      queries: [{ expr: perSecond(toDestinations(DELIVERED), LANE), legend: BY_LANE }],
      unit: 'suffix:/s',
    }),
    chart({
      title: 'Pending',
      description:
        'Items stored until their destination accepts them. The number grows in an outage; nothing is lost.',
      queries: [{ expr: now(toDestinations(PENDING), LANE), legend: BY_LANE }],
      unit: 'locale',
    }),
    chart({
      title: 'Refused and dropped, by reason',
      queries: [
        { expr: perMinute(REFUSED, `${LANE}, reason`), legend: `refused by ${BY_LANE}: {{reason}}` },
        {
          expr: perMinute(toDestinations(DROPPED), `${LANE}, reason`),
          legend: `dropped for ${BY_LANE}: {{reason}}`,
        },
      ],
      unit: 'suffix:/min',
    }),
    table({
      title: 'Lanes',
      rows: [
        { label: 'destination', title: 'Destination' },
        { label: 'signal', title: 'Signal' },
      ],
      columns: [
        { title: 'Produced', expr: grown(toDestinations(PRODUCED), LANE) },
        { title: 'Delivered', expr: grown(toDestinations(DELIVERED), LANE) },
        { title: 'Pending now', expr: now(toDestinations(PENDING), LANE) },
        { title: 'Refused', expr: orNoneOf(grown(REFUSED, LANE), grown(toDestinations(PRODUCED), LANE)) },
        {
          title: 'Dropped',
          expr: orNoneOf(grown(toDestinations(DROPPED), LANE), grown(toDestinations(PRODUCED), LANE)),
        },
      ],
    }),
  ],
};

const exporting: Section = {
  title: 'Answers',
  panels: [
    chart({
      title: 'Time to an answer',
      queries: [0.5, 0.95, 0.99].map((q) => ({
        expr: quantileNow(q, toDestinations(`${EXPORT}_bucket`), LANE),
        legend: `${BY_LANE}, ${q * 100} %`,
      })),
      unit: 's',
    }),
    chart({
      title: 'Requests',
      queries: [{ expr: perMinute(toDestinations(`${EXPORT}_count`), LANE), legend: BY_LANE }],
      unit: 'suffix:/min',
    }),
  ],
};

const collector: Section = {
  title: 'Collector',
  panels: [
    chart({
      title: "Batches in the Collector's queues",
      description: 'The bridge counts them as delivered; their backend has not accepted them yet.',
      queries: [
        {
          expr: 'sum by (exporter, data_type) (otelcol_exporter_queue_size)',
          legend: '{{exporter}} {{data_type}}',
        },
      ],
      unit: 'locale',
    }),
    chart({
      title: 'How full they are',
      description: 'When a queue is full, the Collector refuses data, and the bridge stores it.',
      queries: [
        {
          expr: 'max by (exporter, data_type) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)',
          legend: '{{exporter}} {{data_type}}',
        },
      ],
      unit: 'percentunit',
    }),
  ],
};

export const bridge: Dashboard = dashboard(
  {
    uid: 'openclaw-otel-bridge',
    title: 'Bridge',
    description: 'The input of openclaw-otel-bridge, its delivery to each destination, and pending items.',
  },
  [labelVariable('destination', 'destination', PRODUCED, 'Destination')],
  [overview, incoming, outgoing, exporting, collector],
);
