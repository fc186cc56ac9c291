// A real OpenID Connect provider on a free port of this machine, for the tests of signing in.
// Prints its issuer once it listens. Accounts are made of names: `somebody+group1+group2` is in these groups.
// `POST /test/forge` has it answer with ID tokens that an attacker might want; `POST /test/rotate` gives it a new key.
import { createHmac, createSign, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [redirectUri] = process.argv.slice(2);
let key;
let provider;
let forgery = '';

function newKey(kid) {
  key = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...key.privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' };
}

const client = (id) => ({
  client_id: id,
  client_secret: `the secret of ${id}`,
  redirect_uris: [redirectUri],
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
});

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function signed(header, claims) {
  const text = `${encoded(header)}.${encoded(claims)}`;
  if (header.alg === 'none') return `${text}.`;
  if (header.alg === 'HS256') {
    // The classic confusion: the public key, which everybody has, taken for a shared secret.
    const secret = key.publicKey.export({ type: 'spki', format: 'pem' });
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
  }
  return `${text}.${createSign('RSA-SHA256').update(text).sign(key.privateKey, 'base64url')}`;
}

const forgeries = {
  'wrong-nonce': (header, claims) => signed(header, { ...claims, nonce: 'another' }),
  'no-nonce': (header, { nonce, ...claims }) => signed(header, claims),
  'wrong-audience': (header, claims) => signed(header, { ...claims, aud: 'somebody-else' }),
  'two-audiences': (header, claims) => signed(header, { ...claims, aud: ['dure', 'somebody-else'] }),
  'wrong-issuer': (header, claims) => signed(header, { ...claims, iss: 'https://elsewhere.example' }),
  'expired': (header, claims) => signed(header, { ...claims, exp: claims.iat - 3600 }),
  'from-the-future': (header, claims) => signed(header, { ...claims, iat: claims.iat + 3600, exp: claims.exp + 3600 }),
  'algorithm-none': (header, claims) => signed({ ...header, alg: 'none' }, claims),
  'algorithm-hmac': (header, claims) => signed({ ...header, alg: 'HS256' }, claims),
  'unknown-crit': (header, claims) => signed({ ...header, crit: ['exp-check'], 'exp-check': 'off' }, claims),
  'unknown-key': (header, claims) => signed({ ...header, kid: 'made-up' }, claims),
  'other-type': (header, claims) => signed({ ...header, typ: 'at+jwt' }, claims),
  'signature': (header, claims) => `${signed(header, claims).split('.').slice(0, 2).join('.')}.AAAA`,
  'no-subject': (header, { sub, ...claims }) => signed(header, claims),
};

function forged(idToken) {
  const [header, claims] = idToken.split('.').slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url')));
  return forgeries[forgery](header, claims);
}

function open(issuer, kid) {
  provider = new Provider(issuer, {
    clients: [client('dure'), client('somebody-else')],
    jwks: { keys: [newKey(kid)] },
    cookies: { keys: ['for tests only'] },
    conformIdTokenClaims: false,
    claims: { openid: ['sub'], profile: ['name', 'groups'] },
    pkce: { required: () => true },
    features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: id.split('+')[0], groups: id.split('+').slice(1) }),
    }),
  });
  provider.use(async (context, next) => {
    await next();
    if (forgery && context.path === '/token' && context.body?.id_token) {
      context.body.id_token = forged(context.body.id_token);
    }
  });
}

function toldByTest(request) {
  const url = new URL(request.url, 'http://test');
  if (request.method !== 'POST' || !url.pathname.startsWith('/test/')) return false;
  if (url.pathname === '/test/forge') forgery = url.searchParams.get('as');
  if (url.pathname === '/test/rotate') open(provider.issuer, url.searchParams.get('kid'));
  return true;
}

const server = createServer((request, response) => {
  if (toldByTest(request)) response.end();
  else provider.callback()(request, response);
});
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  open(issuer, 'first');
  console.log(`issuer ${issuer}`);
});
