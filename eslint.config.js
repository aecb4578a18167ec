import neostandard from 'neostandard'

const forbid = (...rooms) => ({
  'no-restricted-imports': ['error', { patterns: rooms.map(room => ({ group: [`**/${room}/*`], message: `imports run service -> topics -> plugin; ${room}/ is not below this room` })) }]
})

export default [
  ...neostandard({ ts: true, ignores: ['dist/**', '.tap/**', 'node_modules/**'] }),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafePromises: [{ from: 'package', name: ['PromiseWithSubtest'], package: '@tapjs/core' }] }],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      'no-void': ['error', { allowAsStatement: true }]
    }
  },
  { files: ['plugin/**/*.ts'], rules: forbid('topics', 'service', 'client', 'test') },
  { files: ['topics/**/*.ts'], rules: forbid('service', 'client', 'test') },
  { files: ['service/**/*.ts'], rules: forbid('client', 'test') }
]
