/** A module worker that runs tasks for pool.js. */

import { packed } from "./errors.js";
import { tasks } from "./tasks.js";

addEventListener("message", async ({ data: { number, task, input } }) => {
  try {
    const { result, transfer } = await tasks[task](input);
    postMessage({ number, result }, transfer);
  } catch (error) {
    postMessage({ number, error: packed(error) });
  }
});
