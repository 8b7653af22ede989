"""What Chromium lets the page do: no code but the hub's files, no other host, no frame."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.conftest import RunHub
from tests.process import HubProcess
from tests.web.ui.conftest import Window

ATTEMPTS = """async (elsewhere) => {
  const done = []
  window.mark = (name) => done.push(name)
  const script = document.createElement('script')
  script.textContent = 'mark("inline script")'
  document.body.append(script)
  const image = document.createElement('div')
  image.innerHTML = '<img src="/nothing" onerror="mark(\\'handler\\')">'
  document.body.append(image)
  const link = document.createElement('a')
  link.href = 'javascript:mark("javascript link")'
  document.body.append(link)
  link.click()
  await new Promise((resolve) => setTimeout(resolve)) // the debugger may call eval, the page not
  try { eval('mark("eval")') } catch {}
  try { new Function('mark("Function")')() } catch {}
  try { await fetch(elsewhere); mark('fetch') } catch {}
  try { await import(`${elsewhere}/ui/hub.js`); mark('import') } catch {}
  const own = await (await fetch('/health')).json()
  await new Promise((resolve) => setTimeout(resolve, 200))
  return [done, own.status]
}"""


def test_only_the_hubs_own_files_run_in_the_page(window: Window, run_hub: RunHub) -> None:
    page = window.open("/")
    # It would let every page in: what keeps this one is its own policy.
    elsewhere = run_hub("--cors", "*", directory=window.hub.events.parent / "elsewhere")
    window.expected = ("Content Security Policy", "Failed to load resource", elsewhere.url)
    assert page.evaluate(ATTEMPTS, elsewhere.url) == [[], "ok"]


def test_the_page_is_in_nobodys_frame(chromium: Browser, own_hub: HubProcess) -> None:
    page = chromium.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{own_hub.url}/health")
    page.set_content(f'<iframe src="{own_hub.url}/"></iframe>')
    expect(page.locator("iframe")).to_be_attached()
    page.wait_for_function("frames.length === 1")
    page.wait_for_timeout(500)
    assert page.frames[1].url.startswith("chrome-error:")
    assert any("frame-ancestors" in each for each in refused)
    page.close()
