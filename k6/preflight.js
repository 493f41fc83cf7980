// One call of each operation before a run, from the place from which the load will be sent.
//
// -e LAB_INPUT=… names what to call (lab/load/preflight.py writes it). Each result is one line of k6's log:
// {"lab_preflight": {what, layer, message, status, location}}.
import http from 'k6/http';
import { Client, HEADERS, classify, initializeMessage } from './mcp.js';

const input = JSON.parse(open(__ENV.LAB_INPUT));
const settings = {
  url: input.base_url + input.endpoint,
  protocol_version: input.protocol_version,
  client_version: input.client_version,
};
const BODY_CHARS_MAX = 200;
const TRIES = 2;
const CLOSE_TIMEOUT_MS = 1000;

export const options = {
  scenarios: {
    preflight: {
      executor: 'shared-iterations',
      vus: 1,
      iterations: 1,
      maxDuration: `${input.total_ms + CLOSE_TIMEOUT_MS}ms`,
      gracefulStop: '1s',
    },
  },
  noConnectionReuse: true,
};

export default function () {
  const giveUp = Date.now() + input.total_ms;
  if (!handshake()) return;
  const client = new Client(settings);
  for (const call of input.calls) tell(tried(client, call, giveUp));
  client.owned = client.session !== null;
  client.close(CLOSE_TIMEOUT_MS);
}

// The first message of a session, without following a redirect; true where it was answered with success.
function handshake() {
  const params = { headers: HEADERS, timeout: input.timeout_ms, redirects: 0, responseType: 'text' };
  const answer = http.post(settings.url, JSON.stringify(initializeMessage(settings)), params);
  const { status } = answer;
  const location = answer.headers.Location || '';
  const ok = status >= 200 && status <= 299;
  const layer = ok ? 'ok' : status === 0 ? 'transport' : 'http_status';
  const body = (answer.body || '').slice(0, BODY_CHARS_MAX);
  const message = ok ? '' : status === 0 ? `${answer.error_code} ${answer.error}` : `HTTP ${status}: ${body}`;
  tell({ what: 'handshake', layer, message, status, location });
  const session = answer.headers['Mcp-Session-Id'];
  if (ok && session) {
    const headers = Object.assign({}, HEADERS, { 'Mcp-Session-Id': session });
    http.del(settings.url, null, { headers, timeout: input.timeout_ms });
  }
  return ok;
}

// One call, made again if it fails and there is time; what was cut off by the whole time counts as not made.
function tried(client, call, giveUp) {
  const operation = input.operations[call.op];
  let made = { what: call.op, layer: 'unsent', message: input.no_time_left, status: 0, location: '' };
  for (let tries = 0; tries < TRIES && made.layer !== 'ok'; tries += 1) {
    const left = giveUp - Date.now();
    if (left <= 0) break;
    const exchanged = client.exchange(operation, call.values, Math.min(input.timeout_ms, left));
    const { layer, message } = classify(exchanged, operation, call.values);
    if (layer !== 'transport' || left >= input.timeout_ms) made = Object.assign(made, { layer, message });
  }
  return made;
}

function tell(result) {
  console.error(JSON.stringify({ lab_preflight: result }));
}
