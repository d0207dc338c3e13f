// Server-sent events, and what the comments between them tell (https://html.spec.whatwg.org/#server-sent-events).

/** Yield what comes in an answer: `{comment}`, or `{event, data}` with the text of an event's data. */
export async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith(":")) {
          yield { comment: line.slice(1).trim() };
        } else if (line) {
          read(line, event);
        } else if (event.data !== undefined) {
          yield event;
          event = {};
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Return what a comment tells: `{index, done, steps}` of a picture, `{wait}` of a request that is held, or null. */
export function toldBy(comment) {
  const step = /^image (\d+) step (\d+)\/(\d+)$/.exec(comment);
  if (step) {
    return { index: Number(step[1]), done: Number(step[2]), steps: Number(step[3]) };
  }
  if (!comment.startsWith("heliograph ")) {
    return null;
  }
  const told = Object.fromEntries([...comment.matchAll(/(\S+?)=(\S*)/g)].map(([, name, value]) => [name, value]));
  return Object.keys(told).length ? { wait: told } : null;
}

function read(line, event) {
  const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
  if (name === "data") {
    event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  } else if (name === "event") {
    event.event = value;
  }
}
