// node eventsource.mjs URL TYPE...: prints what npm `eventsource` gives us, as JSON lines.
import { EventSource } from 'eventsource'
import { endWithParent, print } from './output.mjs'

endWithParent()
const [url, ...types] = process.argv.slice(2)
const source = new EventSource(url)
source.onopen = () => print({ open: true })
source.onerror = (error) => print({ error: error.message, closed: source.readyState === 2 })
for (const type of ['message', ...types]) {
  source.addEventListener(type, (event) =>
    print({ type: event.type, data: event.data, id: event.lastEventId }))
}
