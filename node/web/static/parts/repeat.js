// Looking again and again, as long as somebody sees it.

/**
 * Call `act` until the signal; between two calls wait as many milliseconds as it returned, and until the page is visible.
 * @param {AbortSignal} signal
 * @param {() => Promise<number>} act
 * @returns {() => void} do it again now
 */
export function repeat(signal, act) {
  let hurry = null;
  let asked = false;
  const again = () => {
    asked = true;
    hurry?.();
  };
  const loop = async () => {
    while (!signal.aborted) {
      asked = false;
      const ms = await act();
      if (!asked) await pause(ms, signal, (wake) => { hurry = wake; });
    }
  };
  loop();
  return again;
}

/** Until `ms` have gone by and the page is visible, or it is woken up. */
function pause(ms, signal, wakeUp) {
  return new Promise((done) => {
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", shown);
      done();
    };
    const shown = () => {
      if (!document.hidden) end();
    };
    const due = () => {
      if (document.hidden) document.addEventListener("visibilitychange", shown);
      else end();
    };
    const timer = setTimeout(due, ms);
    wakeUp(end);
    signal.addEventListener("abort", end, { once: true });
  });
}
