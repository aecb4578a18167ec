// Used instead of the SDK's own types, which would be compiled with every build of the examples.
declare module 'ai'
declare module 'ai/test'
