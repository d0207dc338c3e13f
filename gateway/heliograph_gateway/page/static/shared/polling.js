// Doing something again and again while somebody looks.

/** Run `turn` now and `seconds()` after its end, over and over; hidden tabs wait. Return what starts a turn at once. */
export function repeat(turn, seconds) {
  let timer = 0;
  let running = false;
  const run = async () => {
    clearTimeout(timer);
    if (running) {
      return;
    }
    running = true;
    try {
      await turn();
    } finally {
      running = false;
      timer = setTimeout(() => document.hidden || run(), seconds() * 1000);
    }
  };
  document.addEventListener("visibilitychange", () => document.hidden || run());
  run();
  return run;
}
