// A target's operations in exact proportion at a constant arrival rate, for one bounded chunk of a longer run.
//
// -e LAB_INPUT=/input/load-0000.json says what to do (format: k6/README.md); raw points go to --out json=….json.gz,
// from which lab/load/points.py rebuilds every request. All randomness was spent when the input was written.
import exec from 'k6/execution';
import { SharedArray } from 'k6/data';
import { Counter, Gauge, Trend } from 'k6/metrics';
import { sleep } from 'k6';
import { Client, classify } from './mcp.js';

const input = JSON.parse(open(__ENV.LAB_INPUT));
const sequence = new SharedArray('sequence', () => JSON.parse(open(input.sequence)));
const queries = new SharedArray('queries', () => JSON.parse(open(input.queries)));
const documents = new SharedArray('documents', () => JSON.parse(open(input.documents)));

const SESSION_TIMEOUT_MS = 2000;
// Late, for sessions that a chunk opened are left to the server if it is taken back before it began.
const GREETING_BEFORE_START_MS = 2000;
const QUIET_BEFORE_START_MS = 200;
const FAILURES_PER_CLIENT_MAX = 20;
const IDS_PER_CLIENT = 1000000;
const settings = {
  url: input.base_url + input.endpoint,
  protocol_version: input.protocol_version,
  client_version: input.client_version,
};

const started = new Counter('mcp_started');
const answered = new Counter('mcp_answered');
const called = new Trend('mcp_call', true);
const skippedSlots = new Gauge('mcp_skipped_slots');

export const options = {
  scenarios: {
    mix: {
      executor: 'constant-arrival-rate',
      rate: input.slots,
      timeUnit: `${input.duration_ms}ms`,
      duration: `${input.duration_ms}ms`,
      preAllocatedVUs: input.vus,
      maxVUs: input.vus,
      gracefulStop: `${input.graceful_stop_ms}ms`,
    },
  },
  setupTimeout: '10m',
  teardownTimeout: '10s',
  // A kept connection that the server closes in the same moment fails without the server's fault; so none is kept.
  noConnectionReuse: true,
  systemTags: ['status', 'error_code', 'method', 'name'],
  summaryTrendStats: ['count', 'min', 'med', 'p(95)', 'p(99)', 'max'],
};

// Opens the chunk's sessions, then waits for the one moment at which this chunk takes over from the one before.
export function setup() {
  sleepUntil(input.start_epoch_ms - GREETING_BEFORE_START_MS);
  const sessions = [];
  const noLaterThan = input.start_epoch_ms - QUIET_BEFORE_START_MS;
  while (sessions.length < input.sessions) {
    const client = new Client(settings);
    const patience = Math.min(SESSION_TIMEOUT_MS, noLaterThan - Date.now());
    if (patience <= 0 || !opened(client, patience)) break;
    sessions.push({ url: client.url, session: client.session });
    if (client.session === null) break; // A server without sessions: one greeting serves all clients.
  }
  sleepUntil(input.start_epoch_ms);
  return { sessions };
}

function sleepUntil(epochMs) {
  for (let left = epochMs - Date.now(); left > 0; left = epochMs - Date.now()) sleep(left / 1000);
}

// Whether a session could be opened; where not, each client tries again as part of its first request, in its time.
function opened(client, patience) {
  try {
    client.initialize(Date.now() + patience);
    return true;
  } catch (failure) {
    if (failure.layer === undefined) throw failure;
    console.warn(`no session before the start: ${failure.layer}: ${failure.message}`);
    return false;
  }
}

let client = null;
const seenFailures = new Set();

export default function (data) {
  const turn = exec.scenario.iterationInTest;
  const periodMs = input.duration_ms / input.slots;
  // A late start leaves slots out at the front instead of running into the next chunk's time.
  const skipped = Math.max(0, Math.floor((exec.scenario.startTime - input.start_epoch_ms) / periodMs));
  const slot = turn + skipped;
  if (slot >= input.slots) return;
  if (turn === 0) skippedSlots.add(skipped);

  const [name, item] = sequence[slot];
  const operation = input.operations[name];
  const values = Object.assign({}, input.values, {
    query: queries[item % queries.length].text,
    text: documents[item % documents.length].text,
    document_id: `${input.run_id}-${input.chunk}-${turn}`,
  });
  if (client === null) client = firstClient(data.sessions);

  const began = Date.now();
  point(started, 1, turn);
  const exchanged = client.exchange(operation, values, input.request_timeout_ms);
  const tookMs = Date.now() - began;
  point(answered, 1, turn);
  const outcome = classify(exchanged, operation, values);
  point(called, tookMs, turn, { op: name, layer: outcome.layer }, outcome.message, exchanged.sessionsLost);
  if (!outcome.ok) keepBody(name, outcome, turn);

  // Teardown cannot reach a session that a client opened itself; it ends with the client's last turn.
  if (slot + input.vus >= input.slots) client.close(SESSION_TIMEOUT_MS);
}

export function teardown(data) {
  for (const known of data.sessions) {
    const client = new Client(settings, known);
    client.owned = true;
    client.close(SESSION_TIMEOUT_MS);
  }
}

export function handleSummary(data) {
  return { [`${input.output}/summary-${input.chunk}.json`]: JSON.stringify(data) };
}

function firstClient(sessions) {
  const known = sessions.length > 0 ? sessions[exec.vu.idInTest % sessions.length] : null;
  return new Client(settings, known, exec.vu.idInTest * IDS_PER_CLIENT);
}

// What differs from request to request travels as metadata: k6 keeps a time series in memory for every set of tags.
function point(metric, value, turn, tags, message, sessionsLost) {
  const metadata = exec.vu.metrics.metadata;
  metadata.seq = String(turn);
  if (message) metadata.message = message;
  if (sessionsLost) metadata.sessions_lost = String(sessionsLost);
  metric.add(value, tags);
  delete metadata.seq;
  delete metadata.message;
  delete metadata.sessions_lost;
}

// The first failing body of each kind goes to k6's log, from which lab/load/chunks.py keeps a few.
function keepBody(op, outcome, turn) {
  const key = JSON.stringify([op, outcome.layer, outcome.message]);
  if (seenFailures.has(key) || seenFailures.size >= FAILURES_PER_CLIENT_MAX) return;
  seenFailures.add(key);
  const { layer, message, body } = outcome;
  console.error(JSON.stringify({ lab_failure: { at_epoch_ms: Date.now(), seq: turn, op, layer, message, body } }));
}
