// What every load scenario shares: its input, the requests of the plan, the sessions, and the points of each request.
//
// -e LAB_INPUT=/input/load-0000.json says what to do (format: k6/README.md); raw points go to --out json=….json,
// from which lab/load/points.py rebuilds every request. All randomness was spent when the input was written. A
// scenario is a small file beside this one; it exports `options`, `setup`, `teardown` and `handleSummary` from here.
import exec from 'k6/execution';
import { SharedArray } from 'k6/data';
import { Counter, Gauge, Trend } from 'k6/metrics';
import { sleep } from 'k6';
import { Client, classify } from './mcp.js';
import { hitsOf } from './truth.js';

export const input = JSON.parse(open(__ENV.LAB_INPUT));
export const profile = input.profile;
const sequence = new SharedArray('sequence', () => JSON.parse(open(input.sequence)));
const queries = new SharedArray('queries', () => JSON.parse(open(input.queries)));
const documents = new SharedArray('documents', () => JSON.parse(open(input.documents)));

const SESSION_TIMEOUT_MS = 2000;
// Shortly before the start, because a chunk that is taken back before it begins leaves its sessions to the server.
const SESSIONS_BEFORE_START_MS = 2000;
const QUIET_BEFORE_START_MS = 200;
const FAILURES_PER_CLIENT_MAX = 20;
const IDS_PER_CLIENT = 1000000;
export const settings = {
  url: input.base_url + input.endpoint,
  protocol_version: input.protocol_version,
  client_version: input.client_version,
};

const started = new Counter('mcp_started');
const answered = new Counter('mcp_answered');
const called = new Trend('mcp_call', true);
const skippedSlots = new Gauge('mcp_skipped_slots');

// k6's options for each executor that a profile may name.
const EXECUTORS = {
  'constant-arrival-rate': () => ({
    rate: input.due,
    timeUnit: `${input.duration_ms}ms`,
    duration: `${input.duration_ms}ms`,
    preAllocatedVUs: input.vus,
    maxVUs: input.vus,
  }),
};

export const options = {
  scenarios: {
    [profile.name]: {
      executor: profile.schedule.executor,
      ...EXECUTORS[profile.schedule.executor](),
      gracefulStop: `${input.graceful_stop_ms}ms`,
    },
  },
  setupTimeout: '10m',
  teardownTimeout: '10s',
  noConnectionReuse: !profile.connection_reuse,
  systemTags: ['status', 'error_code', 'method', 'name'],
  summaryTrendStats: ['count', 'min', 'med', 'p(95)', 'p(99)', 'max'],
};

// Opens the sessions of the chunk, then waits for the moment at which this chunk takes over from the one before.
export function setup() {
  sleepUntil(input.start_epoch_ms - SESSIONS_BEFORE_START_MS);
  const sessions = [];
  const noLaterThan = input.start_epoch_ms - QUIET_BEFORE_START_MS;
  while (sessions.length < profile.sessions) {
    const client = new Client(settings);
    const timeoutMs = Math.min(SESSION_TIMEOUT_MS, noLaterThan - Date.now());
    if (timeoutMs <= 0 || !opensSession(client, timeoutMs)) break;
    sessions.push({ url: client.url, session: client.session, version: client.version });
    if (client.session === null) break; // A server without sessions: one initialization serves all clients.
  }
  sleepUntil(input.start_epoch_ms);
  return { sessions };
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

function sleepUntil(epochMs) {
  for (let leftMs = epochMs - Date.now(); leftMs > 0; leftMs = epochMs - Date.now()) sleep(leftMs / 1000);
}

// Whether a session could be opened. Where not, each client tries again within the time of its first request.
function opensSession(client, timeoutMs) {
  try {
    client.initialize(Date.now() + timeoutMs);
    return true;
  } catch (failure) {
    if (failure.layer === undefined) throw failure;
    console.warn(`no session before the start: ${failure.layer}: ${failure.message}`);
    return false;
  }
}

let slotsOver = null;

// The request of the plan for this iteration: {id, op, operation, query, values, iteration, place}; null where the plan
// has no more. A late start leaves requests out at the front instead of running into the next chunk's time.
export function nextRequest() {
  const iteration = exec.scenario.iterationInTest;
  if (slotsOver === null) slotsOver = countSlotsOver(exec.scenario.startTime - input.start_epoch_ms);
  const place = iteration + slotsOver;
  if (place >= sequence.length) return null;
  if (iteration === 0) skippedSlots.add(slotsOver);
  const [id, op, number] = sequence[place];
  const query = queries[number % queries.length];
  const values = Object.assign({}, input.values, {
    query: query.text,
    text: documents[number % documents.length].text,
    document_id: `${input.run_id}-${id}`,
  });
  return { id, op, operation: input.operations[op], query, values, iteration, place };
}

// How many slots were over when k6 began: those after which another one was already due.
function countSlotsOver(lateMs) {
  let over = 0;
  while (over < sequence.length && dueAfterMs(over + 1) <= lateMs) over += 1;
  return over;
}

function dueAfterMs(place) {
  return place < sequence.length ? sequence[place][3] : input.duration_ms;
}

let client = null;

// The client of this virtual user, on one of the sessions that setup() opened.
export function sharedClient(data) {
  if (client === null) {
    const known = data.sessions.length > 0 ? data.sessions[exec.vu.idInTest % data.sessions.length] : null;
    client = new Client(settings, known, exec.vu.idInTest * IDS_PER_CLIENT);
  }
  return client;
}

// Sends one request and adds its three points; returns how it was judged.
export function send(client, request) {
  const began = Date.now();
  addPoint(started, 1, request);
  const exchanged = client.exchange(request.operation, request.values, profile.request_timeout_ms);
  const tookMs = Date.now() - began;
  addPoint(answered, 1, request);
  const outcome = classify(exchanged, request.operation, request.values);
  const tags = { op: request.op, layer: outcome.layer };
  const hits = hitsOf(outcome, request.operation, request.query, request.values.k);
  const noted = { message: outcome.message, sessions_lost: exchanged.sessionsLost, ...hits };
  addPoint(called, tookMs, request, tags, noted);
  if (!outcome.ok) keepBody(request, outcome);
  return outcome;
}

// Ends a session that a client opened itself, with the client's last iteration: teardown() cannot reach it.
export function closeAfterLast(client, request) {
  if (request.place + input.vus >= sequence.length) client.close(SESSION_TIMEOUT_MS);
}

// What differs from request to request travels as metadata: k6 keeps a time series in memory for every set of tags.
function addPoint(metric, value, request, tags = {}, more = {}) {
  const metadata = exec.vu.metrics.metadata;
  const mine = { seq: request.iteration, id: request.id, ...more };
  const names = Object.keys(mine).filter((name) => mine[name] || name === 'seq' || name === 'hits');
  for (const name of names) metadata[name] = String(mine[name]);
  metric.add(value, tags);
  for (const name of names) delete metadata[name];
}

const keptFailures = new Set();

// The first failing body of each kind goes to k6's log, from which lab/load/containers.py keeps a few.
function keepBody(request, outcome) {
  const { layer, message, body } = outcome;
  const kind = JSON.stringify([request.op, layer, message]);
  if (keptFailures.has(kind) || keptFailures.size >= FAILURES_PER_CLIENT_MAX) return;
  keptFailures.add(kind);
  const about = { at_epoch_ms: Date.now(), seq: request.iteration, id: request.id, op: request.op };
  console.error(JSON.stringify({ lab_failure: { ...about, layer, message, body } }));
}
