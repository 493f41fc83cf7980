// The target's usual mix of operations in exact proportion: one request of the plan per iteration, on shared sessions.
import { closeAfterLast, nextRequest, send, sharedClient } from './lab.js';

export { handleSummary, options, setup, teardown } from './lab.js';

export default function (data) {
  const request = nextRequest();
  if (request === null) return;
  const client = sharedClient(data);
  send(client, request);
  closeAfterLast(client, request);
}
