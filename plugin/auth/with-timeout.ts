import { errors } from './errors.ts'

/**
 * Settles like `answer`. Rejects with `FST_SSE_NO_ANSWER`, which names `who`, if that takes longer than `ms`; a later
 * result or rejection is ignored.
 */
export async function answerInTime<T> (who: string, ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((resolve, reject) => {
    timer = setTimeout(() => reject(new errors.FST_SSE_NO_ANSWER(who, ms)), ms).unref()
  })
  try {
    return await Promise.race([answer, tooLate])
  } finally {
    clearTimeout(timer)
  }
}
