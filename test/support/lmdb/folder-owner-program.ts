import { FolderOwner } from '../../../plugin/topics/log/lmdb/folder-owner.ts'

/** An order to the process: take the folder at this time, or release it. */
export type OwnerOrder = { folder: string, atMs: number } | 'release'

// A separate process that takes a folder at the same time as others.

let owner: FolderOwner | undefined

async function take (folder: string, atMs: number): Promise<string> {
  owner = new FolderOwner(folder)
  // All processes leave this loop within the same millisecond, if there are enough cores.
  while (Date.now() < atMs);
  return owner.take().then(() => 'owner', (error: { code?: string, message: string }) => error.code ?? error.message)
}

process.on('disconnect', () => { process.exit() })
process.on('message', (order: OwnerOrder) => {
  void (order === 'release' ? owner!.release().then(() => 'released') : take(order.folder, order.atMs)).then(
    said => process.send!(said)
  )
})
