import neostandard from 'neostandard'

/** Imports run one way: service -> topics -> auth -> reply -> common. `except` lists files that may be imported. */
const forbid = (folders, except = []) => ({
  'no-restricted-imports': ['error', {
    patterns: folders.map(folder => ({
      group: [`**/${folder}/**`, ...except.map(file => `!**/${file}`)],
      message: `imports run service -> topics -> auth -> reply -> common; ${folder}/ is not below this folder`
    }))
  }]
})

export default [
  ...neostandard({ ts: true, ignores: ['**/dist/**', '.tap/**', 'node_modules/**'] }),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', {
        allowForKnownSafePromises: [{ from: 'package', name: ['PromiseWithSubtest'], package: '@tapjs/core' }]
      }],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      'no-duplicate-imports': ['error', { allowSeparateTypeImports: true }],
      'no-void': ['error', { allowAsStatement: true }]
    }
  },
  {
    files: ['examples/*/page.{js,jsx}'],
    languageOptions: { globals: { addEventListener: 'readonly', EventSource: 'readonly', location: 'readonly' } }
  },
  {
    files: ['plugin/**/*.ts', 'service/**/*.ts'],
    rules: { '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true }] }
  },
  {
    files: ['bench/**/*.ts', 'scripts/*.js', 'examples/**/*.{ts,js,jsx}', '*.js'],
    rules: { '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreTemplateLiterals: true }] }
  },
  // In tests a title may be longer, and so may lines with a text or a pattern that would not be found in pieces.
  {
    files: ['test/**/*.{ts,js}'],
    rules: {
      '@stylistic/max-len': ['error', {
        code: 120,
        ignoreUrls: true,
        ignoreStrings: true,
        ignoreTemplateLiterals: true,
        ignoreRegExpLiterals: true,
        ignorePattern: '\\.test\\(.*\\{$'
      }]
    }
  },
  {
    files: ['plugin/common/**/*.ts'],
    rules: forbid(['reply', 'auth', 'topics', 'ai', 'client', 'testing', 'service', 'test'])
  },
  { files: ['plugin/reply/**/*.ts'], rules: forbid(['auth', 'topics', 'ai', 'client', 'testing', 'service', 'test']) },
  { files: ['plugin/auth/**/*.ts'], rules: forbid(['topics', 'ai', 'client', 'testing', 'service', 'test']) },
  // The client runs in browsers: of the other folders, only the in-band events may be part of its bundle.
  {
    files: ['plugin/client/**/*.ts'],
    rules: forbid(['reply', 'auth', 'topics', 'ai', 'common', 'testing', 'service', 'test'], ['common/in-band.ts'])
  },
  { files: ['plugin/topics/**/*.ts'], rules: forbid(['ai', 'client', 'testing', 'service', 'test']) },
  { files: ['plugin/ai/**/*.ts'], rules: forbid(['client', 'testing', 'service', 'test']) },
  // It has two imports of types from Fastify, because one would be too long.
  { files: ['plugin/index.ts'], rules: { ...forbid(['service', 'test']), 'no-duplicate-imports': 'off' } },
  { files: ['service/**/*.ts'], rules: forbid(['plugin', 'test']) }
]
