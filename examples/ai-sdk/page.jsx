import { useChat } from '@ai-sdk/react'
import { useEffect, useRef, useState } from 'react'
import { createRoot } from 'react-dom/client'

// The id of the chat is in the URL, so that a second tab opens the same one.
if (location.hash === '') location.replace(`#${crypto.randomUUID()}`)
const id = location.hash.slice(1)
const { messages: saved } = await (await fetch(`/api/chat/${id}`)).json()

function Chat () {
  const [prompt, setPrompt] = useState('')
  const { messages, status, error, sendMessage, resumeStream } = useChat({ id, messages: saved, resume: true })
  const isBusy = status === 'submitted' || status === 'streaming'

  // Either the connection broke or the answer failed: the second attempt shows which.
  const attempts = useRef(0)
  useEffect(() => {
    if (status === 'ready') attempts.current = 0
    if (status !== 'error' || attempts.current++ > 0) return
    const timer = setTimeout(resumeStream, 500)
    return () => clearTimeout(timer)
  }, [status])

  const stop = () => fetch(`/api/chat/${id}/stop`, { method: 'POST' })
  const ask = event => {
    event.preventDefault()
    attempts.current = 0
    sendMessage({ text: prompt })
    setPrompt('')
  }
  return (
    <>
      <p id='state' className='state' data-state={status === 'ready' ? 'open' : status}>{status}</p>
      {messages.map(message => <Message key={message.id} {...message} />)}
      {error && <p className='card' role='alert'>The answer is incomplete: {error.message}</p>}
      <form className='card' onSubmit={ask}>
        <input
          aria-label='Your question' placeholder='Ask something' required maxLength={2_000} autoComplete='off'
          value={prompt} onChange={event => setPrompt(event.target.value)}
        />
        {/* With keys, so that a click that was meant for one button never reaches the other. */}
        {isBusy
          ? <button key='stop' type='button' onClick={stop}>Stop</button>
          : <button key='ask'>Ask</button>}
      </form>
    </>
  )
}

function Message ({ role, parts, metadata }) {
  return (
    <article className={`card ${role}`}>
      <h2>{role}{metadata && <span className='muted'> (process {metadata.pid})</span>}</h2>
      {parts.map((part, at) => part.type === 'text' && <p key={at} className='text'>{part.text}</p>)}
    </article>
  )
}

createRoot(document.getElementById('chat')).render(<Chat />)
