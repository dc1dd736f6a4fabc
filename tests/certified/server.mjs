// The certified OpenID provider (npm oidc-provider), set up as strictly as it goes, for tests/tests/certified_provider.rs and
// local/tests/certified.rs.
//
// 1. It listens on a free port of the loopback address and prints one line, `issuer <url>`.
// 2. Anyone signs in through its development forms: the login is the subject, `<login>@example.com` the verified e-mail.
// 3. It serves until its standard input ends, so that it never outlives the test.
//
// Beside the provider's own paths: GET /control/counters (how often each grant type succeeded, each error, and grants that it revoked),
// POST /control/replay (presents the refresh token that was redeemed last once more, as a thief would).
//
// Environment: REDIRECT_URI (of the one client), CLIENT_ID, CLIENT_SECRET, ORGANIZATION, the lifetimes in seconds ACCESS_TTL and
// REFRESH_TTL, and for a provider behind a proxy PORT (where it listens) and ISSUER (where everybody else finds it).

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const { REDIRECT_URI, CLIENT_ID = 'mandate', CLIENT_SECRET = 'certified-client-secret', ORGANIZATION = 'org_demo' } = process.env;
const number = (name, otherwise) => Number(process.env[name] ?? otherwise);

let handle = (_request, response) => response.writeHead(503).end();
const server = createServer((request, response) => handle(request, response));
await new Promise((resolve) => server.listen(number('PORT', 0), '127.0.0.1', resolve));
const issuer = process.env.ISSUER ?? `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: CLIENT_ID,
      client_secret: CLIENT_SECRET,
      redirect_uris: [REDIRECT_URI],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  // An id_token holds no more than it must: the e-mail and the organization are at userinfo.
  conformIdTokenClaims: true,
  claims: { openid: ['sub', 'org_id'], email: ['email', 'email_verified'] },
  scopes: ['openid', 'email', 'offline_access'],
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, org_id: ORGANIZATION }),
  }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
  },
  ttl: {
    AccessToken: number('ACCESS_TTL', 600),
    AuthorizationCode: 60,
    Grant: number('REFRESH_TTL', 86_400),
    IdToken: 86_400,
    Interaction: 600,
    RefreshToken: number('REFRESH_TTL', 86_400),
    Session: 600,
  },
  cookies: { keys: [randomBytes(32).toString('hex')] },
});

const counters = { authorization_code: 0, refresh_token: 0, grants_revoked: 0, invalid_grant: 0, invalid_client: 0 };
let redeemed;
provider.on('grant.success', (ctx) => {
  const { grant_type: type, refresh_token: token } = ctx.oidc.params;
  counters[type] += 1;
  redeemed = token ?? redeemed;
});
provider.on('grant.error', (_ctx, { error }) => {
  counters[error] = (counters[error] ?? 0) + 1;
});
provider.on('grant.revoked', () => {
  counters.grants_revoked += 1;
});
provider.on('server_error', (_ctx, error) => console.error(error));

async function replay() {
  const basic = Buffer.from(`${encodeURIComponent(CLIENT_ID)}:${encodeURIComponent(CLIENT_SECRET)}`).toString('base64');
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: redeemed });
  const answer = await fetch(`${issuer}/token`, { method: 'POST', headers: { authorization: `Basic ${basic}` }, body });
  return { status: answer.status, ...(await answer.json()) };
}

const answer = (response, status, body) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};
const serve = provider.callback();
handle = (request, response) => {
  if (request.url === '/control/counters') {
    answer(response, 200, counters);
  } else if (request.method === 'POST' && request.url === '/control/replay') {
    replay().then((result) => answer(response, 200, result), (error) => answer(response, 500, { error: String(error) }));
  } else {
    serve(request, response);
  }
};

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
console.log(`issuer ${issuer}`);
// Nobody reads a second line; the provider's notices go to standard error.
console.info = console.error;
