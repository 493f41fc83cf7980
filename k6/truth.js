// How many of the right documents an answer holds: the rules of lab/probes/recall.py; tests/contract compares both.
import { canonical, firstBroken, valueAt } from './mcp.js';

// What to note of an answer to a search: {hits, k, query}. Empty where the operation does not say where its documents
// stand, where nothing is known of the query, and where the server did not claim success.
export function hitsOf(outcome, operation, query, k) {
  const path = operation.document_ids || [];
  if (path.length === 0 || query.accepted.length === 0 || !claimsSuccess(outcome, operation)) return {};
  return { hits: countHits(outcome.payload, path, query.accepted, k), k, query: query.id };
}

// Whether the server answered without an explicit error. An `absent` condition names the place of its errors.
export function claimsSuccess(outcome, operation) {
  if (outcome.ok) return true;
  if (outcome.layer !== 'payload' || outcome.payload === null) return false;
  const errors = operation.success.filter((condition) => condition.test === 'absent');
  return firstBroken(outcome.payload, errors, {}) === null;
}

// The number of accepted documents among the first k distinct documents of an answer.
export function countHits(payload, path, accepted, k) {
  const found = valuesAt(payload, path).map((id) => (typeof id === 'string' ? id : canonical(id)));
  const distinct = Array.from(new Set(found)).slice(0, k);
  return distinct.filter((id) => accepted.includes(id)).length;
}

// All values at a path in which `*` means every item of a list.
export function valuesAt(payload, path) {
  const star = path.indexOf('*');
  if (star < 0) {
    const found = valueAt(payload, path);
    return found === undefined ? [] : [found];
  }
  const items = valueAt(payload, path.slice(0, star));
  if (!Array.isArray(items)) return [];
  return items.flatMap((item) => valuesAt(item, path.slice(star + 1)));
}
