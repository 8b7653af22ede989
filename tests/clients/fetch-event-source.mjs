// node fetch-event-source.mjs URL: prints what npm `@microsoft/fetch-event-source` gives us,
// as JSON lines.
import { createRequire } from 'node:module'
import { endWithParent, print } from './output.mjs'

// It is made for browsers: it asks the page whether it is hidden, and the window for timers.
// Under Node its module form cannot be loaded (it imports './parse' without '.js').
globalThis.window = globalThis
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} }
const { fetchEventSource } = createRequire(import.meta.url)('@microsoft/fetch-event-source')

endWithParent()
await fetchEventSource(process.argv[2], {
  async onopen(response) {
    if (response.status !== 200) throw new Error(`status ${response.status}`)
    print({ open: true })
  },
  onmessage: ({ event, data, id }) => print({ type: event || 'message', data, id }),
  // To this library an end is the end, unless we throw: then it connects again.
  onclose() {
    throw new Error('the stream ended')
  },
  onerror: (error) => print({ error: error.message, closed: false }),
})
