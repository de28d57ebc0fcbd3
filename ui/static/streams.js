/* No answer of the server is lost.

   Gradio's client gets the answers to all its calls from one stream, which the server closes as soon as it owes none.
   A call that is made while the word of that close is on its way finds the stream open, asks for no other, and its
   answer never comes: a click does nothing. So the word is held back here while a call is on its way, and where the
   server owes an answer again the stream goes on with a new connection, of which the client need not know. */

const JOINS = /\/queue\/join\b/;
const STREAMS = /\/queue\/data\b/;
const CLOSES = { msg: "close_stream" };

const joining = new Set();
const owed = new Set();
const given = new Set();

export function streams() {
  const plain = window.fetch.bind(window);
  window.fetch = (asked, options) => {
    const address = String(asked?.url ?? asked);
    if (JOINS.test(address)) return join(plain(asked, options));
    return STREAMS.test(address) ? lasting(plain, new Request(asked, options)) : plain(asked, options);
  };
}

/* A call: from now on an answer is owed, unless it has come already. */
function join(answer) {
  const noted = answer
    .then((response) => response.clone().json())
    .then(({ event_id: id }) => id && !given.delete(id) && owed.add(id))
    .catch(() => {})
    .finally(() => joining.delete(noted));
  joining.add(noted);
  return answer;
}

async function lasting(plain, asked) {
  const first = await plain(asked.clone());
  if (!first.ok || !first.body) return first;
  const stopped = new AbortController();
  const body = new ReadableStream({
    async start(out) {
      try {
        for (let response = first; response.ok; response = await plain(asked.clone(), { signal: stopped.signal })) {
          if (!(await pass(response.body, out, stopped.signal))) break;
          while (joining.size) await Promise.all(joining);
          if (owed.size) continue;
          out.enqueue(written(CLOSES));
          break;
        }
        out.close();
      } catch (error) {
        if (!stopped.signal.aborted) out.error(error);
      }
    },
    cancel: () => stopped.abort(),
  });
  asked.signal.addEventListener("abort", () => stopped.abort());
  return new Response(body, { status: first.status, headers: first.headers });
}

/* Hands on what the server says, message by message, until it ends; whether it said that it closes the stream. */
async function pass(body, out, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  signal.addEventListener("abort", () => reader.cancel().catch(() => {}));
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return false;
    const messages = (rest + value).split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      const told = read(message);
      if (told.msg === CLOSES.msg) return true;
      if (told.msg === "process_completed" && !owed.delete(told.event_id)) given.add(told.event_id);
      out.enqueue(new TextEncoder().encode(`${message}\n\n`));
    }
  }
}

function read(message) {
  try {
    return JSON.parse(message.replace(/^data: ?/, "")) ?? {};
  } catch {
    return {};
  }
}

function written(message) {
  return new TextEncoder().encode(`data: ${JSON.stringify(message)}\n\n`);
}
