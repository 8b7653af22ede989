/**
 * Reducers to begin with.
 */

/** @type {{name: string, initial: string, code: string}[]} */
export const EXAMPLES = [
  {
    name: "Count by type",
    initial: "{}",
    code: `(state, event) => {
  state[event.type] = (state[event.type] ?? 0) + 1;
  return state;
}`,
  },
  {
    name: "Sum of every number",
    initial: "{}",
    code: `(state, { json }) => {
  for (const [key, value] of Object.entries(json ?? {})) {
    if (typeof value === "number") state[key] = (state[key] ?? 0) + value;
  }
  return state;
}`,
  },
  {
    name: "Lines of code (git log)",
    initial: '{ "lines": 0, "commits": 0 }',
    code: `(state, { json }) => ({
  lines: state.lines + (json.added ?? 0) - (json.removed ?? 0),
  commits: state.commits + (json.commit ? 1 : 0),
  release: json.tag ?? state.release,
})`,
  },
  {
    name: "Lines of code, by stream",
    initial: "{}",
    code: `(state, { json, stream }) => {
  const lines = (json.added ?? 0) - (json.removed ?? 0);
  state[stream] = (state[stream] ?? 0) + lines;
  return state;
}`,
  },
  {
    name: "Events a day",
    initial: "{}",
    code: `(state, event) => {
  const day = new Date(event.time).toISOString().slice(0, 10);
  state[day] = (state[day] ?? 0) + 1;
  return state;
}`,
  },
  {
    name: "Last of each type",
    initial: "{}",
    code: `(state, event) => ({
  ...state,
  [event.type]: event.json ?? event.data,
})`,
  },
  {
    name: "A bank account",
    initial: '{ "balance": 0 }',
    code: `(state, { type, json }) => {
  if (type === "Deposited") state.balance += json.amount;
  if (type === "Withdrawn") state.balance -= json.amount;
  return state;
}`,
  },
  {
    name: "A to-do list",
    initial: '{ "open": [], "done": 0 }',
    code: `(state, { type, json }) => {
  if (type === "added") state.open.push(json.title);
  if (type === "done") {
    state.open = state.open.filter((each) => each !== json.title);
    state.done += 1;
  }
  return state;
}`,
  },
  {
    name: "Smallest, largest, mean of a field",
    initial: '{ "count": 0, "sum": 0 }',
    code: `(state, { json }) => {
  const value = json?.price; // the field
  if (typeof value !== "number") return state;
  const count = state.count + 1;
  const sum = state.sum + value;
  return {
    count, sum, mean: sum / count,
    least: Math.min(state.least ?? value, value),
    most: Math.max(state.most ?? value, value),
  };
}`,
  },
];
