import { Api } from './page/api.ts'
import { StateKeeper } from './page/state.ts'
import { PageToken } from './page/token.ts'
import { PublishForm } from './publish-form.ts'
import { SelfTestPanel } from './self-test/self-test-panel.ts'
import { StreamsPanel } from './overview/streams-panel.ts'
import { TailPanel } from './tail/tail-panel.ts'
import { TokenForm } from './token-form.ts'
import { TopicsPanel } from './overview/topics-panel.ts'

// Assembles the page. Each panel finds its part of the page by its id.

const token = new PageToken()
const api = new Api(token)
const keeper = new StateKeeper()
const tokenForm = new TokenForm(token)
const publishForm = new PublishForm(api)
const tail = new TailPanel({
  api,
  keeper,
  onUnauthorized: why => tokenForm.ask(why),
  onTopics: () => topicsPanel.refresh()
})
const topicsPanel = new TopicsPanel({ api, tailed: () => tail.topics, toggle: topic => tail.toggle(topic) })
const streamsPanel = new StreamsPanel(api)
const selfTestPanel = new SelfTestPanel(api)

/** Subscribes according to the URL. */
function begin (): void {
  publishForm.suggest(keeper.state.topics[0] ?? '')
  if (!keeper.state.isStopped) tail.connect()
}

token.onChange(begin)
addEventListener('hashchange', () => {
  tail.show(keeper.reread())
  begin()
})
topicsPanel.start()
streamsPanel.start()
selfTestPanel.start()
begin()
