import { readdirSync, readFileSync } from 'node:fs'

/** CPU seconds that these processes have used so far, over all threads, as reported by the operating system. */
export function cpuSeconds (pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + secondsOf(pid), 0)
}

/** Linux' scheduler counts nanoseconds per thread; the ticks in `stat` are too coarse for a short window. */
function secondsOf (pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`)
  return threads.reduce((sum, thread) => {
    const [ran = '0'] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')
    return sum + Number(ran) / 1e9
  }, 0)
}

/** Resident memory of these processes, in bytes. */
export function residentBytes (pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const [, kib = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return sum + Number(kib) * 1_024
  }, 0)
}

/** The child processes of a process. */
export function childrenOf (pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}
