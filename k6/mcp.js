// An MCP client (revisions 2025-03-26 to 2025-11-25, streamable HTTP) that says at which layer a call failed.
//
// It follows the same rules as lab/model/target.py (what counts as a real success) and lab/observe/mcp.py (the
// protocol); tests/contract compares both sides. Everything about a target arrives as data: nothing is inserted into
// code or text.
import http from 'k6/http';

const MESSAGE_CHARS_MAX = 300;
// Revisions with a session and an `initialize`; a server may choose another one of them than it was asked for. The
// first of them has no header that names it.
const REVISIONS = ['2025-03-26', '2025-06-18', '2025-11-25'];
const BODY_CHARS_MAX = 2048;
export const HEADERS = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };

// The first message of a session.
export function initializeMessage(settings) {
  const params = {
    protocolVersion: settings.protocol_version,
    capabilities: {},
    clientInfo: { name: 'chaos-soak-lab', version: settings.client_version },
  };
  return { jsonrpc: '2.0', id: 0, method: 'initialize', params };
}

export class Failure {
  constructor(layer, message, body = '') {
    this.layer = layer;
    this.message = cut(message, MESSAGE_CHARS_MAX);
    this.body = body;
  }
}

// One client and its session. `known` is a session that was opened before (see setup() in lab.js). Clients that share a
// session must get `firstId`s that are far apart: an id may be used only once in a session, and a server that gets an id
// twice confuses the answers.
export class Client {
  constructor(settings, known = null, firstId = 0) {
    this.settings = settings;
    this.url = known ? known.url : settings.url;
    this.session = known ? known.session : null;
    this.version = known ? known.version : settings.protocol_version;
    this.initialized = known !== null;
    this.owned = false;
    this.lastId = firstId;
  }

  // Opens a session; throws a Failure. Keeps the effective address, so that a redirect happens only once.
  initialize(deadline) {
    const answer = this.post(initializeMessage(this.settings), HEADERS, deadline);
    const result = resultOf(messageIn(answer, 0), answer.body);
    this.version = chosenRevision(result, this.settings.protocol_version, answer.body);
    this.url = answer.url || this.url;
    this.session = header(answer, 'mcp-session-id');
    this.owned = this.session !== null;
    this.post({ jsonrpc: '2.0', method: 'notifications/initialized' }, this.headers(), deadline);
    this.initialized = true;
  }

  // Calls a tool within timeoutMs. That time includes a new initialization where the server has lost the session.
  // Never throws because of what the target does; returns {answer, id, failure, sessionsLost} for classify().
  exchange(operation, values, timeoutMs) {
    const deadline = Date.now() + timeoutMs;
    let lost = 0;
    try {
      for (;;) {
        const sent = this.send(operation, values, deadline);
        if (!sent.forgotten) return { answer: sent.answer, id: sent.id, failure: null, sessionsLost: lost };
        lost += 1;
        if (lost === 2) throw new Failure('http_status', `HTTP ${sent.answer.status}`, sent.answer.body);
      }
    } catch (failure) {
      if (!(failure instanceof Failure)) throw failure;
      return { answer: null, id: null, failure, sessionsLost: lost };
    }
  }

  send(operation, values, deadline) {
    if (!this.initialized) this.initialize(deadline);
    const id = (this.lastId += 1);
    const params = { name: operation.tool, arguments: fill(operation.arguments, values) };
    const answer = this.post({ jsonrpc: '2.0', id, method: 'tools/call', params }, this.headers(), deadline);
    const forgotten = this.session !== null && forgets(answer);
    if (forgotten) {
      this.initialized = false;
      this.session = null;
      this.owned = false;
    }
    return { answer, id, forgotten };
  }

  // Ends a session that this client opened itself; it is no failure if the server does not answer.
  close(timeoutMs) {
    if (this.session === null || !this.owned) return;
    http.del(this.url, null, { headers: this.headers(), timeout: timeoutMs, tags: { name: 'DELETE' } });
    this.session = null;
    this.initialized = false;
    this.owned = false;
  }

  headers() {
    const named = this.version === REVISIONS[0] ? {} : { 'MCP-Protocol-Version': this.version };
    const headers = Object.assign({}, HEADERS, named);
    return this.session === null ? headers : Object.assign(headers, { 'Mcp-Session-Id': this.session });
  }

  post(message, headers, deadline) {
    const timeout = deadline - Date.now();
    if (timeout <= 0) throw new Failure('transport', '1050 request timeout');
    const params = { headers, timeout, responseType: 'text', tags: { name: message.method } };
    const answer = http.post(this.url, JSON.stringify(message), params);
    if (answer.status === 0) throw new Failure('transport', `${answer.error_code} ${answer.error}`);
    return answer;
  }
}

// Whether the server has lost the session: the protocol says 404; mcp 1.14 says 400 and names the session.
function forgets(answer) {
  if (answer.status === 404) return true;
  return answer.status === 400 && (answer.body || '').toLowerCase().includes('session');
}

// Where an exchange failed, and with which message: {ok, layer, message, payload, body}; body is at most 2 KB.
export function classify(exchanged, operation, values) {
  let body = '';
  try {
    if (exchanged.failure !== null) throw exchanged.failure;
    body = exchanged.answer.body;
    const result = resultOf(messageIn(exchanged.answer, exchanged.id), body);
    if (truthy(result.isError)) throw new Failure('is_error', textOf(result) || 'isError without a text', body);
    const payload = payloadOf(result, operation.payload);
    const broken = firstBroken(payload, operation.success, values);
    if (broken === null) return { ok: true, layer: 'ok', message: '', payload, body: '' };
    return { ok: false, layer: 'payload', message: broken, payload, body: cut(body, BODY_CHARS_MAX) };
  } catch (failure) {
    if (!(failure instanceof Failure)) throw failure;
    const kept = cut(failure.body || body || '', BODY_CHARS_MAX);
    return { ok: false, layer: failure.layer, message: failure.message, payload: null, body: kept };
  }
}

// The JSON-RPC message with this id in an SSE or JSON body; notifications may precede it.
export function messageIn(answer, id) {
  if (answer.status < 200 || answer.status > 299) {
    throw new Failure('http_status', `HTTP ${answer.status}`, answer.body);
  }
  const streamed = (header(answer, 'content-type') || '').startsWith('text/event-stream');
  const texts = streamed ? eventData(answer.body || '') : [answer.body || ''];
  for (const text of texts) {
    const message = parsed(text);
    if (isObject(message) && message.id === id && answers(message)) return message;
  }
  throw new Failure('jsonrpc', "no message with the request's id in the answer", answer.body);
}

// Whether a message is an answer: a server's own requests have ids too, which it counts for itself.
function answers(message) {
  return !has(message, 'method') && (has(message, 'result') || has(message, 'error'));
}

// The revision that the server has chosen; throws a Failure for one that this client does not speak.
function chosenRevision(result, asked, body) {
  const chosen = has(result, 'protocolVersion') ? result.protocolVersion : asked;
  if (chosen === asked || REVISIONS.includes(chosen)) return chosen;
  throw new Failure('jsonrpc', `the server speaks revision '${chosen}', and this client does not`, body);
}

// The data of each server-sent event; the data lines of one event are joined to one text.
function eventData(body) {
  const events = [];
  let lines = [];
  for (const line of body.split(/\r\n|\n|\r/).concat([''])) {
    if (line.startsWith('data:')) lines.push(line.slice(line[5] === ' ' ? 6 : 5));
    if (line === '' && lines.length > 0) {
      events.push(lines.join('\n'));
      lines = [];
    }
  }
  return events;
}

function resultOf(message, body) {
  const error = message.error;
  if (error !== undefined && error !== null) {
    const message = isObject(error) && truthy(error.message) ? error.message : canonical(error);
    throw new Failure('jsonrpc', typeof message === 'string' ? message : canonical(message), body);
  }
  if (!isObject(message.result)) throw new Failure('jsonrpc', 'neither result nor error in the answer', body);
  return message.result;
}

function textOf(result) {
  const items = Array.isArray(result.content) ? result.content : [];
  const texts = items.filter(isObject).map((item) => (item.text === undefined ? '' : item.text));
  return texts.map((text) => (typeof text === 'string' ? text : canonical(text))).join('\n');
}

export function payloadOf(result, kind) {
  if (kind === 'structured') {
    if (!has(result, 'structuredContent')) throw new Failure('payload', 'no structuredContent in the result');
    return result.structuredContent;
  }
  const text = textOf(result);
  if (kind === 'text') return text;
  const payload = parsed(text);
  if (payload === undefined) throw new Failure('payload', "the result's text is not JSON");
  return payload;
}

// ---- what counts as a real success: the rules of lab/model/target.py

// The message of the first condition that does not hold, or null when all hold.
export function firstBroken(payload, conditions, values) {
  for (const condition of conditions) {
    const found = valueAt(payload, condition.path);
    const operand = fill(condition.operand === undefined ? true : condition.operand, values);
    if (holds(found, condition.test, operand)) continue;
    if (condition.test === 'absent') return cut(typeof found === 'string' ? found : canonical(found), MESSAGE_CHARS_MAX);
    const where = condition.path.join('.') || 'payload';
    const shown = found === undefined ? 'nothing' : canonical(found);
    return cut(`expected ${where} ${condition.test} ${canonical(operand)}, found ${shown}`, MESSAGE_CHARS_MAX);
  }
  return null;
}

function holds(found, test, operand) {
  const present = found !== undefined && found !== null;
  switch (test) {
    case 'absent':
      return !present;
    case 'present':
      return present;
    case 'equals':
      return present && canonical(found) === canonical(operand);
    case 'at_least':
      return typeof found === 'number' && found >= operand;
    case 'min_items':
      return Array.isArray(found) && found.length >= operand;
    default:
      return contains(found, operand);
  }
}

function contains(found, operand) {
  if (Array.isArray(found)) return found.some((item) => canonical(item) === canonical(operand));
  if (typeof operand !== 'string') return false;
  return typeof found === 'string' ? found.includes(operand) : isObject(found) && has(found, operand);
}

// `template` with each {"$var": NAME} replaced by its value; throws for an unknown name, which is an error of the lab.
export function fill(template, values) {
  if (Array.isArray(template)) return template.map((item) => fill(item, values));
  if (!isObject(template)) return template;
  const keys = Object.keys(template);
  if (keys.length === 1 && keys[0] === '$var') {
    if (!has(values, template.$var)) throw new Error(`no value for the variable ${canonical(template.$var)}`);
    return values[template.$var];
  }
  return Object.fromEntries(keys.map((key) => [key, fill(template[key], values)]));
}

// The value at `path`, undefined where the path does not exist; negative numbers count from the end of a list.
export function valueAt(payload, path) {
  let value = payload;
  for (const step of path) {
    if (typeof step === 'number') {
      if (!Array.isArray(value)) return undefined;
      value = value[step < 0 ? step + value.length : step];
    } else {
      value = isObject(value) && has(value, step) ? value[step] : undefined;
    }
    if (value === undefined) return undefined;
  }
  return value;
}

// A JSON value as compact text with keys sorted by code point; Python gives the same text.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (isObject(value)) {
    const keys = Object.keys(value).sort(byCodePoint);
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
  }
  return typeof value === 'number' ? numberText(value) : JSON.stringify(value);
}

// A number as Python writes it: with an exponent of at least two digits below 1e-4 and from 1e16 on.
function numberText(value) {
  if (Number.isInteger(value)) return Math.abs(value) < 1e16 ? String(value) : BigInt(value).toString();
  if (Math.abs(value) >= 1e-4) return String(value);
  const [digits, exponent] = value.toExponential().split('e');
  return `${digits}e-${exponent.slice(1).padStart(2, '0')}`;
}

function byCodePoint(a, b) {
  const [left, right] = [Array.from(a), Array.from(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i += 1) {
    if (left[i] !== right[i]) return left[i].codePointAt(0) - right[i].codePointAt(0);
  }
  return left.length - right.length;
}

// ---- JSON values, headers and texts

function truthy(value) {
  if (Array.isArray(value)) return value.length > 0;
  return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function has(object, key) {
  return Object.prototype.hasOwnProperty.call(object, key);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (_) {
    return undefined;
  }
}

function header(answer, name) {
  const key = Object.keys(answer.headers).find((candidate) => candidate.toLowerCase() === name);
  return key === undefined ? null : answer.headers[key];
}

// The first `charsMax` characters (code points, as in Python).
function cut(text, charsMax) {
  return text.length <= charsMax ? text : Array.from(text).slice(0, charsMax).join('');
}
