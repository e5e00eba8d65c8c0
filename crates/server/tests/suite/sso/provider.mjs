// A real OpenID provider with two accounts. Arguments: where the package is, and where people are sent back to.
// It prints its port on one line, and ends when its standard input does.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [home, back] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${home}/lib/index.js`));

const ACCOUNTS = {
  'sub-ada': { preferred_username: 'ada', groups: ['grp-sre', 'grp-payments'] },
  'sub-mallory': { preferred_username: 'mallory', groups: [] },
};

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const key = { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' };
const client = { redirect_uris: [back], response_types: ['code'], grant_types: ['authorization_code'], id_token_signed_response_alg: 'ES256' };

const provider = new Provider(issuer, {
  clients: [
    { ...client, client_id: 'holdpoint', client_secret: 'a secret of: the client%', token_endpoint_auth_method: 'client_secret_basic' },
    { ...client, client_id: 'holdpoint-public', token_endpoint_auth_method: 'none' },
  ],
  jwks: { keys: [key] },
  cookies: { keys: ['cookies of a test'] },
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...ACCOUNTS[id] }) }),
  interactions: { url: (_, interaction) => `/login/${interaction.uid}` },
  // Everybody agrees to what our client asks.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile groups');
    await grant.save();
    return grant;
  },
});

const callback = provider.callback();
server.on('request', async (request, response) => {
  if (!request.url.startsWith('/login/')) return callback(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end(`<!doctype html><html lang=en><title>Provider</title><link rel=icon href='data:,'>
      <form method=post><label>Account <input name=login></label><button>Sign in</button></form></html>`);
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  const login = new URLSearchParams(body).get('login');
  const result = login in ACCOUNTS ? { login: { accountId: login } } : { error: 'access_denied' };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
});

process.stdin.on('end', () => process.exit()).resume();
console.log(server.address().port);
