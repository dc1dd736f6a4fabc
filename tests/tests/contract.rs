//! What every caller can rely on: refusals, headers, permissions, and the rules of the sign-in URL (contract sections 1–5).
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use local::demonstration;
use local::sign_in::PEOPLE;
use reqwest::Method;
use serde_json::{Value, json};
use tests::tokens::{self, es256, hs256, unsigned};
use tests::{Caller, Expect as _, Setup, Verifier, World};
use url::Url;

const LIST: &str = "/workflows/authorization";
const UNKNOWN: &str = "auth_01jd0000000000000000000000";

/// A route, a body that it takes, the scope that it needs, and what it answers where there is nothing.
struct Route {
    method: Method,
    path: String,
    body: Option<Value>,
    scope: &'static str,
    answer: (u16, &'static str),
}

fn routes() -> Vec<Route> {
    let one = format!("{LIST}/{UNKNOWN}");
    let route = |method, path: &str, body, scope, answer| Route { method, path: path.to_owned(), body, scope, answer };
    vec![
        route(Method::POST, LIST, Some(json!({})), "create", (200, "")),
        route(Method::POST, &format!("{LIST}/complete"), Some(json!({ "code": "x" })), "create", (404, "flow_not_found")),
        route(Method::GET, LIST, None, "view", (200, "")),
        route(Method::GET, &one, None, "view", (404, "authorization_not_found")),
        route(Method::DELETE, &one, None, "delete", (404, "authorization_not_found")),
        route(Method::DELETE, &format!("{one}?dry_run=true"), None, "delete", (404, "authorization_not_found")),
        route(
            Method::PUT,
            "/workflows/fl_1/authorization",
            Some(json!({ "authorization_id": UNKNOWN })),
            "assign",
            (404, "authorization_not_found"),
        ),
        route(Method::GET, "/workflows/fl_1/authorization", None, "view", (404, "workflow_not_bound")),
        route(Method::DELETE, "/workflows/fl_1/authorization", None, "assign", (404, "workflow_not_bound")),
        route(
            Method::POST,
            &format!("{one}/replace"),
            Some(json!({ "authorization_id": "auth_01jd0000000000000000000001" })),
            "assign",
            (404, "authorization_not_found"),
        ),
        route(Method::POST, &format!("{one}/token"), Some(json!({ "workflow_id": "fl_1" })), "use", (404, "workflow_not_bound")),
        route(Method::POST, &format!("{one}/check"), None, "view", (404, "authorization_not_found")),
    ]
}

impl Route {
    async fn called_by(&self, caller: &Caller) -> local::client::Answer {
        caller.call(self.method.clone(), &self.path, self.body.clone()).await
    }
}

#[tokio::test]
async fn s01_every_route_refuses_a_caller_without_a_token() {
    let world = World::start().await;
    for route in routes() {
        let answer = route.called_by(&world.nobody()).await;
        let body = answer.refused(401, "unauthorized");
        assert!(
            answer.header("www-authenticate").starts_with("Bearer") && !answer.header("www-authenticate").contains("error="),
            "{}",
            route.path
        );
        assert_eq!(body["type"], "authentication_error");
    }
    assert_eq!(world.provider().token_requests, 0);
}

#[tokio::test]
async fn s61_every_route_needs_its_own_scope_and_no_other() {
    let world = World::start().await;
    for route in routes() {
        for scope in ["create", "view", "delete", "assign", "use"] {
            let mut claims = world.claims(&PEOPLE[0]);
            claims.scopes = vec!["openid".to_owned(), format!("workflow_authorization:{scope}")];
            let answer = route.called_by(&world.caller(claims)).await;
            if scope == route.scope {
                assert_eq!(
                    (answer.status, answer.json()["code"].as_str().unwrap_or_default()),
                    route.answer,
                    "{} {}",
                    route.method,
                    route.path
                );
            } else {
                answer.refused(403, "insufficient_scope");
                let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"workflow_authorization:{}\"", route.scope);
                assert_eq!(answer.header("www-authenticate"), challenge);
            }
        }
        for scopes in [vec![], vec!["*"], vec!["workflow_authorization"], vec!["workflow_authorization:"], vec!["WORKFLOW_AUTHORIZATION:*"]]
        {
            let mut claims = world.claims(&PEOPLE[0]);
            claims.scopes = scopes.into_iter().map(str::to_owned).collect();
            route.called_by(&world.caller(claims)).await.refused(403, "insufficient_scope");
        }
        let answer = route.called_by(&world.olivia()).await;
        assert_eq!(answer.status, route.answer.0, "workflow_authorization:* grants {} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn scopes_come_from_scopes_else_scope_else_permissions() {
    let world = World::start().await;
    let ask = async |scopes: Value, scope: Value, permissions: Value| {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        for (name, value) in [("scopes", scopes), ("scope", scope), ("permissions", permissions)] {
            claims.as_object_mut().unwrap().remove(name);
            if !value.is_null() {
                claims[name] = value;
            }
        }
        world.bearer(es256(&tokens::header(), &claims)).get(LIST).await.status
    };
    let (view, none) = (json!(["workflow_authorization:view"]), Value::Null);
    let view_text = json!("openid workflow_authorization:view email");
    assert_eq!(ask(view.clone(), none.clone(), none.clone()).await, 200);
    assert_eq!(ask(none.clone(), view_text.clone(), none.clone()).await, 200);
    assert_eq!(ask(none.clone(), none.clone(), view.clone()).await, 200);
    assert_eq!(ask(json!(["other"]), view_text.clone(), view.clone()).await, 403, "the first there is decides");
    assert_eq!(ask(none.clone(), json!("other"), view.clone()).await, 403);
    assert_eq!(ask(none.clone(), json!("workflow_authorization:view,other"), none.clone()).await, 403, "separated by spaces");
    assert_eq!(ask(none.clone(), none.clone(), none).await, 403);
}

#[tokio::test]
async fn every_route_needs_an_organization() {
    let world = World::start().await;
    for organization in [None, Some(String::new()), Some("org#1".to_owned()), Some("x".repeat(257))] {
        let mut claims = world.claims(&PEOPLE[0]);
        claims.organization = organization;
        let caller = world.caller(claims);
        for route in routes() {
            route.called_by(&caller).await.refused(403, "organization_required");
        }
    }
}

#[tokio::test]
async fn s56_a_token_that_does_not_hold_is_refused_in_the_same_words_whatever_is_wrong() {
    let world = World::start().await;
    let now = world.now().unix_timestamp();
    let good = world.raw_claims(&PEOPLE[0]);
    let changed = |name: &str, value: Value| {
        let mut claims = good.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        es256(&tokens::header(), &claims)
    };
    let headed = |name: &str, value: Value| {
        let mut header = tokens::header();
        header[name] = value;
        es256(&header, &good)
    };
    let valid = es256(&tokens::header(), &good);
    world.bearer(&valid).get(LIST).await.is(200);
    let (message, signature) = valid.rsplit_once('.').unwrap();
    let public = serde_json::to_value(tokens::public_keys().keys[0].clone()).unwrap();
    let x = URL_SAFE_NO_PAD.decode(public["x"].as_str().unwrap()).unwrap();
    let hs = |secret: &[u8]| hs256(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": tokens::KEY_ID }), &good, secret);
    let mut flipped = signature.to_owned().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let mut promoted = good.clone();
    promoted["org_id"] = json!("org_elsewhere");
    let other_payload = es256(&tokens::header(), &promoted);
    let refused: Vec<(&str, String)> = vec![
        ("nonsense", "nonsense".to_owned()),
        ("two dots", "a.b.c".to_owned()),
        ("no signature", format!("{message}.")),
        ("tampered signature", format!("{message}.{}", String::from_utf8(flipped).unwrap())),
        ("signature of another", format!("{}.{signature}", other_payload.rsplit_once('.').unwrap().0)),
        ("trailing part", format!("{valid}.x")),
        ("expired", changed("exp", json!(now - 60))),
        ("exp is text", changed("exp", json!((now + 3600).to_string()))),
        ("exp is true", changed("exp", json!(true))),
        ("exp is negative", changed("exp", json!(-1))),
        ("exp is huge", changed("exp", json!(1e300))),
        ("no exp", changed("exp", Value::Null)),
        ("not yet", changed("nbf", json!(now + 61))),
        ("nbf is text", changed("nbf", json!("0"))),
        ("issued in the future", changed("iat", json!(now + 61))),
        ("another issuer", changed("iss", json!("https://evil.example"))),
        ("almost the issuer", changed("iss", json!(format!("{}/", demonstration::issuer(world.stack.api()))))),
        ("no issuer", changed("iss", Value::Null)),
        ("another audience", changed("aud", json!("https://other.example"))),
        ("other audiences", changed("aud", json!(["a", "b"]))),
        ("no audience", changed("aud", Value::Null)),
        ("no subject", changed("sub", Value::Null)),
        ("empty subject", changed("sub", json!(""))),
        ("numeric subject", changed("sub", json!(7))),
        ("an id_token's nonce", changed("nonce", json!("n"))),
        ("typ of an id_token", headed("typ", json!("JWT"))),
        ("alg none", unsigned(&json!({ "alg": "none", "typ": "at+jwt" }), &good)),
        ("alg None", unsigned(&json!({ "alg": "None", "typ": "at+jwt", "kid": tokens::KEY_ID }), &good)),
        ("alg none, signed", headed("alg", json!("none"))),
        ("alg HS256 under the public PEM", hs(tokens::public_pem().as_bytes())),
        ("alg HS256 under the trimmed public PEM", hs(tokens::public_pem().trim().as_bytes())),
        ("alg HS256 under the public JWK", hs(public.to_string().as_bytes())),
        ("alg HS256 under a coordinate", hs(&x)),
        ("alg ES384", headed("alg", json!("ES384"))),
        ("alg RS256 for an EC key", headed("alg", json!("RS256"))),
        ("unknown kid", headed("kid", json!("another"))),
        ("kid is no text", headed("kid", json!(1))),
        ("jku", headed("jku", json!("https://evil.example/jwks.json"))),
        ("jwk", headed("jwk", public.clone())),
        ("x5u", headed("x5u", json!("https://evil.example/x5u"))),
        ("x5c", headed("x5c", json!(["AA=="]))),
        ("crit", headed("crit", json!(["exp"]))),
    ];
    let mut bodies = Vec::new();
    for (what, token) in refused {
        let answer = world.bearer(token).get(LIST).await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text);
        answer.refused(401, "unauthorized");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{what}");
        bodies.push(answer.text);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the reason is for the log");

    for (what, token) in [
        ("59 s over", changed("exp", json!(now - 59))),
        ("60 s early", changed("nbf", json!(now + 60))),
        ("several audiences", changed("aud", json!(["other", demonstration::AUDIENCE]))),
        ("no iat", changed("iat", Value::Null)),
        ("the media type in full", headed("typ", json!("application/at+jwt"))),
    ] {
        assert_eq!(world.bearer(token).get(LIST).await.status, 200, "{what}");
    }
    let mut without_kid = tokens::header();
    without_kid.as_object_mut().unwrap().remove("kid");
    assert_eq!(world.bearer(es256(&without_kid, &good)).get(LIST).await.status, 200, "without a kid the only matching key serves");
}

#[tokio::test]
async fn s56_an_id_token_is_no_bearer_token() {
    let world = World::start().await;
    let mut claims = world.raw_claims(&PEOPLE[0]);
    claims["aud"] = json!(["mandate-demonstration", demonstration::AUDIENCE]);
    world
        .bearer(es256(&json!({ "alg": "ES256", "typ": "JWT", "kid": tokens::KEY_ID }), &claims))
        .get(LIST)
        .await
        .refused(401, "unauthorized");
    for mark in ["nonce", "at_hash", "c_hash"] {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        claims[mark] = json!("x");
        world.bearer(es256(&tokens::header(), &claims)).get(LIST).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn the_authorization_header_holds_one_bearer_token() {
    let world = World::start().await;
    let token = world.olivia().authorization().unwrap().split_off("Bearer ".len());
    for (header, status) in [
        (format!("Bearer {token}"), 200),
        (format!("bearer {token}"), 200),
        (format!("BEARER  {token}"), 200),
        (format!("Basic {token}"), 401),
        (token.clone(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
        (format!("Bearer {token} {token}"), 401),
        (format!("Bearer {token},Bearer {token}"), 401),
    ] {
        let answer = world.http.send(Method::GET, &format!("{}{LIST}", world.base()), &[("authorization", &header)], None).await.unwrap();
        assert_eq!(answer.status, status, "{}", &header[..header.len().min(12)]);
    }
    world.nobody().get(&format!("{LIST}?access_token={token}")).await.refused(401, "unauthorized");
}

fn static_key(secret: &Value) -> Setup {
    let directory = |directory: &mut Value, _| {
        let tokens = directory["api_tokens"].as_object_mut().unwrap();
        tokens.remove("jwks_uri");
        tokens.insert("static_key_secret".to_owned(), json!("mandate/api-token-key"));
        tokens.insert("claims".to_owned(), json!({ "organization": "tenant", "email": "mail", "email_verified": "mail_verified" }));
    };
    Setup {
        directory: Some(Box::new(directory)),
        secrets: vec![("mandate/api-token-key".to_owned(), secret.to_string())],
        ..Setup::default()
    }
}

fn of_tenant(world: &World) -> Value {
    let mut claims = world.raw_claims(&PEOPLE[0]);
    let organization = claims.as_object_mut().unwrap().remove("org_id").unwrap();
    claims["tenant"] = organization;
    claims["mail"] = json!("ops@example.com");
    claims["mail_verified"] = json!(true);
    claims
}

#[tokio::test]
async fn a_static_hmac_secret_verifies_hs256_and_nothing_else() {
    let secret = [7_u8; 32];
    let world = World::with(static_key(&json!({ "alg": "HS256", "secret": URL_SAFE_NO_PAD.encode(secret) }))).await;
    let claims = of_tenant(&world);
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });
    let olivia = world.bearer(hs256(&header, &claims, &secret));
    assert_eq!(olivia.list().await, json!([]));
    for token in [
        hs256(&header, &claims, &[8; 32]),
        hs256(&json!({ "alg": "HS512", "typ": "at+jwt" }), &claims, &secret),
        es256(&tokens::header(), &claims),
        unsigned(&json!({ "alg": "none", "typ": "at+jwt" }), &claims),
        unsigned(&header, &claims),
    ] {
        world.bearer(token).get(LIST).await.refused(401, "unauthorized");
    }
    let by_default_name = {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        claims["mail"] = json!("ops@example.com");
        world.bearer(hs256(&header, &claims, &secret))
    };
    by_default_name.get(LIST).await.refused(403, "organization_required");
    world.sign_in(&olivia, "usr_olivia", json!({})).await.page(200);
    assert_eq!(olivia.list().await[0]["created_by"], "usr_olivia");
}

#[tokio::test]
async fn s44_a_static_public_key_verifies_its_algorithm_and_is_no_hmac_secret() {
    let pem = tokens::public_pem();
    let world = World::with(static_key(&json!({ "alg": "ES256", "pem": pem }))).await;
    let claims = of_tenant(&world);
    world.bearer(es256(&tokens::header(), &claims)).get(LIST).await.is(200);
    world.bearer(es256(&json!({ "alg": "ES256", "typ": "at+jwt" }), &claims)).get(LIST).await.is(200);
    let header = json!({ "alg": "HS256", "typ": "at+jwt" });
    for token in [
        hs256(&header, &claims, pem.as_bytes()),
        hs256(&header, &claims, pem.trim().as_bytes()),
        es256(&json!({ "alg": "RS256", "typ": "at+jwt" }), &claims),
        unsigned(&json!({ "alg": "none", "typ": "at+jwt" }), &claims),
    ] {
        world.bearer(token).get(LIST).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn s59_a_token_made_for_one_workflow_serves_no_other() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    world.bind(&olivia, "fl_2", &id).await;
    let only = |workflow: Value| {
        let mut claims = world.raw_claims(&PEOPLE[0]);
        claims["workflow_id"] = workflow;
        world.bearer(es256(&tokens::header(), &claims))
    };
    only(json!("fl_1")).token(&id, json!({ "workflow_id": "fl_1" })).await.is(200);
    only(json!("fl_1")).token(&id, json!({ "workflow_id": "fl_2" })).await.refused(403, "workflow_claim_mismatch");
    for unusable in [json!(""), json!(1), json!(["fl_1"]), json!("fl_1#"), Value::Null] {
        only(unusable).token(&id, json!({ "workflow_id": "fl_1" })).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn s55_a_body_is_one_json_object_of_at_most_16_kib_in_the_right_type() {
    let world = World::start().await;
    let olivia = world.olivia();
    let json_type = [("content-type", "application/json")];
    for route in routes().into_iter().filter(|r| r.method == Method::POST || r.method == Method::PUT) {
        let send = async |headers: &[(&str, &str)], body: &str| olivia.send(route.method.clone(), &route.path, headers, Some(body)).await;
        let name = format!("{} {}", route.method, route.path);
        for bad in
            ["{", "[]", "[{}]", "null", "1", "\"x\"", "{} {}", "{\"a\":1,\"a\":2}", "{'a':1}", "{\"a\":NaN}", "\u{feff}{}", "{\"a\":1,}"]
        {
            assert_eq!(send(&json_type, bad).await.refused(400, "body_invalid")["type"], "invalid_request_error", "{name} {bad}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        send(&json_type, &deep).await.refused(400, "body_invalid");
        let unknown = send(&json_type, "{\"unknown_field\":1}").await.refused(400, "parameter_unknown");
        assert_eq!(unknown["message"], "The 'unknown_field' parameter is not known.", "{name}");
        send(&json_type, "{\"<script>\":1}").await.refused(400, "parameter_unknown");
        let most = 16 * 1024;
        let padded = |length: usize| format!("{{{}\"unknown\":1}}", " ".repeat(length - 13));
        assert_eq!(padded(most).len(), most);
        send(&json_type, &padded(most)).await.refused(400, "parameter_unknown");
        send(&json_type, &padded(most + 1)).await.refused(413, "body_too_large");
        send(&json_type, &"x".repeat(100_000)).await.refused(413, "body_too_large");
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", "", "json"] {
            send(&[("content-type", kind)], "{}").await.refused(415, "unsupported_media_type");
        }
        send(&[], "{}").await.refused(415, "unsupported_media_type");
        let body = route.body.clone().unwrap_or_else(|| json!({})).to_string();
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"] {
            assert_eq!(send(&[("content-type", kind)], &body).await.status, route.answer.0, "{name} {kind}");
        }
    }
}

#[tokio::test]
async fn s55_a_body_where_none_is_expected_is_refused_and_deletes_nothing() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    world.bind(&olivia, "fl_1", &id).await;
    for path in [format!("/workflows/authorization/{id}"), "/workflows/fl_1/authorization".to_owned()] {
        let refused = olivia.call(Method::DELETE, &path, Some(json!({ "dry_run": true }))).await.refused(400, "parameter_unknown");
        assert_eq!(refused["param"], "dry_run", "{path}");
        let send = async |kind: &str, body: &str| olivia.send(Method::DELETE, &path, &[("content-type", kind)], Some(body)).await;
        send("text/plain", "{}").await.refused(415, "unsupported_media_type");
        send("application/json", "[]").await.refused(400, "body_invalid");
        send("application/json", &" ".repeat(20_000)).await.refused(413, "body_too_large");
    }
    assert_eq!(olivia.one(&id).await["workflow_count"], 1);
}

#[tokio::test]
async fn no_body_is_the_same_as_an_empty_object() {
    let world = World::start().await;
    let olivia = world.olivia();
    for (headers, body) in
        [(vec![], None), (vec![("content-type", "application/json")], Some("")), (vec![("content-type", "application/json")], Some("{}"))]
    {
        olivia.send(Method::POST, LIST, &headers, body).await.is(200);
        let path = format!("{LIST}/{UNKNOWN}/check");
        olivia.send(Method::POST, &path, &headers, body).await.refused(404, "authorization_not_found");
        for (method, path, field) in [
            (Method::POST, format!("{LIST}/complete"), "code"),
            (Method::POST, format!("{LIST}/{UNKNOWN}/token"), "workflow_id"),
            (Method::POST, format!("{LIST}/{UNKNOWN}/replace"), "authorization_id"),
            (Method::PUT, "/workflows/fl_1/authorization".to_owned(), "authorization_id"),
        ] {
            let body = olivia.send(method, &path, &headers, body).await.refused(400, "parameter_missing");
            assert_eq!(body["message"], format!("The '{field}' parameter is required for this request."));
        }
    }
}

#[tokio::test]
async fn fields_of_the_wrong_type_or_out_of_bounds_are_refused_by_name() {
    let world = World::start().await;
    let olivia = world.olivia();
    let token = format!("{LIST}/{UNKNOWN}/token");
    let replace = format!("{LIST}/{UNKNOWN}/replace");
    let complete = format!("{LIST}/complete");
    let bind = "/workflows/fl_1/authorization".to_owned();
    let long = "x".repeat(129);
    for (method, path, base, field, values) in [
        (
            Method::POST,
            &token,
            json!({ "workflow_id": "fl_1" }),
            "min_ttl",
            vec![json!(-1), json!(3601), json!(1.5), json!("60"), json!([]), json!(true), json!(1e300)],
        ),
        (Method::POST, &token, json!({ "workflow_id": "fl_1" }), "rejected_generation", vec![json!(-1), json!(0.5), json!("1"), json!({})]),
        (
            Method::POST,
            &token,
            json!({}),
            "workflow_id",
            vec![json!(""), json!(1), json!("a b"), json!("a/b"), json!("a#b"), json!(long), json!("é")],
        ),
        (Method::POST, &replace, json!({ "authorization_id": UNKNOWN }), "dry_run", vec![json!("true"), json!(1), json!([])]),
        (Method::POST, &replace, json!({}), "authorization_id", vec![json!(1), json!([]), json!(true)]),
        (Method::POST, &complete, json!({}), "code", vec![json!(1), json!(["x"]), json!({})]),
        (Method::POST, &complete, json!({ "code": "x" }), "code_verifier", vec![json!(1), json!([])]),
        (Method::PUT, &bind, json!({}), "authorization_id", vec![json!(1), json!({})]),
        (
            Method::PUT,
            &bind,
            json!({ "authorization_id": UNKNOWN }),
            "workflow_name",
            vec![json!(1), json!([]), json!(""), json!("a\u{0}b"), json!("x".repeat(257))],
        ),
        (
            Method::PUT,
            &bind,
            json!({ "authorization_id": UNKNOWN }),
            "required_scopes",
            vec![json!(1), json!([1]), json!(["a b"]), json!({}), json!(["\""])],
        ),
    ] {
        for value in values {
            let mut body = base.clone();
            body[field] = value.clone();
            let refused = olivia.call(method.clone(), path, Some(body)).await.refused(400, "parameter_invalid");
            assert!(refused["message"].as_str().unwrap().contains(&format!("'{field}'")), "{field} {value}: {refused}");
        }
    }
    for workflow in [long.as_str(), "a%20b", "a%2Fb", "%23", "a.b"] {
        for method in [Method::GET, Method::DELETE] {
            olivia.call(method, &format!("/workflows/{workflow}/authorization"), None).await.refused(400, "parameter_invalid");
        }
    }
    for id in ["auth_x", "auth_01JD0000000000000000000000", "conn_demo", "auth_01jd0000000000000000000000x"] {
        olivia.get(&format!("{LIST}/{id}")).await.refused(404, "authorization_not_found");
        olivia.delete(&format!("{LIST}/{id}")).await.refused(404, "authorization_not_found");
        olivia.token(id, json!({ "workflow_id": "fl_1" })).await.refused(404, "workflow_not_bound");
    }
}

#[tokio::test]
async fn query_parameters_are_judged_one_by_one() {
    let world = World::start().await;
    let olivia = world.olivia();
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "limit=-1",
        "limit=1.5",
        "status=deleted",
        "status=",
        "unused_since=yesterday",
        "unused_since=2026-11-22",
        "workflow_id=",
        "workflow_id=a%20b",
        "limit=1&limit=2",
    ] {
        olivia.get(&format!("{LIST}?{bad}")).await.refused(400, "parameter_invalid");
    }
    for unknown in ["foo=1", "organization_id=org_elsewhere", "org_id=org_elsewhere", "offset=1"] {
        olivia.get(&format!("{LIST}?{unknown}")).await.refused(400, "parameter_unknown");
    }
    for cursor in ["", "x", "AAAA", "%00"] {
        olivia.get(&format!("{LIST}?cursor={cursor}")).await.refused(400, "cursor_invalid");
    }
    for bad in ["dry_run=maybe", "dry_run=1", "dry_run=", "dry_run=true&dry_run=true"] {
        olivia.delete(&format!("{LIST}/{UNKNOWN}?{bad}")).await.refused(400, "parameter_invalid");
    }
    olivia.delete(&format!("{LIST}/{UNKNOWN}?dryrun=true")).await.refused(400, "parameter_unknown");
    for good in [
        "limit=1",
        "limit=1000",
        "status=active",
        "status=needs_reauthorization",
        "status=revoking",
        "unused_since=2026-11-22T10:00:00Z",
        "unused_since=2026-11-22T10:00:00%2B02:00",
    ] {
        assert_eq!(olivia.get(&format!("{LIST}?{good}")).await.is(200), json!([]), "{good}");
    }
}

#[tokio::test]
async fn wrong_methods_are_405_with_allow_and_unknown_paths_404() {
    let world = World::start().await;
    let olivia = world.olivia();
    let one = format!("{LIST}/{UNKNOWN}");
    let wanted = |allow: &str| {
        let mut methods: Vec<_> = allow.split(", ").map(str::to_owned).collect();
        methods.sort_unstable();
        methods
    };
    for (path, allow, wrong) in [
        (LIST.to_owned(), "GET, POST", vec![Method::PUT, Method::PATCH, Method::DELETE]),
        (one.clone(), "DELETE, GET", vec![Method::POST, Method::PATCH]),
        (format!("{one}/token"), "POST", vec![Method::GET, Method::PUT, Method::DELETE, Method::PATCH]),
        (format!("{one}/check"), "POST", vec![Method::GET, Method::PUT, Method::DELETE]),
        (format!("{one}/replace"), "POST", vec![Method::GET, Method::PUT, Method::DELETE]),
        ("/workflows/fl_1/authorization".to_owned(), "DELETE, GET, PUT", vec![Method::POST, Method::PATCH]),
        (format!("{LIST}/callback/conn_demo"), "GET, HEAD, OPTIONS", vec![Method::POST, Method::PUT, Method::DELETE]),
    ] {
        for method in wrong {
            let answer = olivia.call(method.clone(), &path, None).await;
            answer.refused(405, "method_not_allowed");
            assert_eq!(wanted(answer.header("allow")), wanted(allow), "{method} {path}");
        }
    }
    for path in [
        "/workflows",
        "/workflows/",
        "/workflows/authorization/",
        "//workflows/authorization",
        "/Workflows/authorization",
        "/workflows/fl_1",
        "/workflows/fl_1/authorization/x",
        "/health",
    ] {
        olivia.get(path).await.refused(404, "route_not_found");
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_if_it_is_valid_and_made_if_not() {
    let world = World::start().await;
    let olivia = world.olivia();
    let longest = "~".repeat(128);
    for id in ["a", "my-request/1", longest.as_str(), "!\"#$%&'()"] {
        let answer = olivia.send(Method::GET, LIST, &[("x-request-id", id)], None).await;
        assert_eq!(answer.header("x-request-id"), id);
        assert_eq!(
            world.nobody().send(Method::GET, LIST, &[("X-Request-Id", id)], None).await.header("x-request-id"),
            id,
            "on errors, too"
        );
    }
    let too_long = "x".repeat(129);
    let mut made = Vec::new();
    for id in ["", "a b", too_long.as_str(), "a\tb"] {
        let answer = olivia.send(Method::GET, LIST, &[("x-request-id", id)], None).await;
        made.push(answer.header("x-request-id").to_owned());
        assert!(!made.contains(&id.to_owned()) && made.last().is_some_and(|m| m.starts_with("req_")), "{id}");
    }
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), 4, "each is new");
}

fn several_connections() -> Setup {
    let change = |directory: &mut Value, _| {
        let connection = |id: &str, provider: &str, organization: Value, linked: bool| {
            json!({
                "id": id, "provider": provider, "organization_id": organization, "linked": linked, "kind": "oauth2",
                "authorization_endpoint": "https://code.example.com/authorize?tenant=t", "token_endpoint": "https://code.example.com/token",
                "userinfo_endpoint": "https://code.example.com/user", "client_id": id, "scopes": ["repo"], "allowed_scopes": ["repo", "workflow"],
                "extra_authorization_params": { "audience": "https://api.example.com" },
            })
        };
        let connections = directory["connections"].as_array_mut().unwrap();
        connections.extend([
            connection("conn_unlinked", "unlinked", Value::Null, false),
            connection("conn_two_a", "two", Value::Null, true),
            connection("conn_two_b", "two", Value::Null, true),
            connection("conn_one_of_two", "half", Value::Null, true),
            connection("conn_other_of_two", "half", Value::Null, false),
            connection("conn_own_a", "own", json!("org_demo"), true),
            connection("conn_own_b", "other", json!("org_demo"), true),
            connection("conn_theirs", "own", json!("org_elsewhere"), true),
            connection("conn_quiet", "quiet", json!("org_quiet"), false),
        ]);
        let mut workos = connection("conn_authkit", "authkit", Value::Null, true);
        for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "extra_authorization_params"] {
            workos.as_object_mut().unwrap().remove(name);
        }
        for (name, value) in [
            ("kind", json!("workos")),
            ("base_url", json!("https://api.workos.example")),
            ("selector", json!({ "provider": "authkit" })),
            ("scopes", json!([])),
            ("allowed_scopes", json!([])),
        ] {
            workos[name] = value;
        }
        connections.push(workos);
        directory["redirect_uris"].as_array_mut().unwrap().push(json!({ "uri": "https://app.example.com/cb?keep=this", "default": false }));
    };
    Setup { directory: Some(Box::new(change)), ..Setup::default() }
}

#[tokio::test]
async fn s10_connection_selectors_resolve_within_the_callers_organization() {
    let world = World::with(several_connections()).await;
    let (olivia, mallory) = (world.olivia(), world.mallory());
    let quiet = {
        let mut claims = world.claims(&PEOPLE[0]);
        claims.organization = Some("org_quiet".to_owned());
        world.caller(claims)
    };
    let client = async |caller: &Caller, body: Value| {
        let url = Url::parse(&world.url(caller, body).await).unwrap();
        url.query_pairs().find(|(n, _)| n == "client_id").unwrap().1.into_owned()
    };
    assert_eq!(client(&olivia, json!({})).await, "mandate-demonstration");
    assert_eq!(client(&olivia, json!({ "connection_id": "conn_two_b" })).await, "conn_two_b");
    assert_eq!(client(&olivia, json!({ "provider": "own" })).await, "conn_own_a", "another organization's is not meant");
    assert_eq!(client(&olivia, json!({ "provider": "half" })).await, "conn_one_of_two");
    assert_eq!(client(&mallory, json!({ "organization_id": "org_elsewhere" })).await, "conn_theirs");

    for (caller, body, code) in [
        (&olivia, json!({ "connection_id": "conn_demo", "provider": "two" }), "invalid_connection_selector"),
        (&olivia, json!({ "connection_id": "conn_demo", "organization_id": "org_demo" }), "invalid_connection_selector"),
        (&olivia, json!({ "connection_id": "a", "organization_id": "b", "provider": "c" }), "invalid_connection_selector"),
        (&olivia, json!({ "connection_id": "" }), "invalid_connection_selector"),
        (&olivia, json!({ "organization_id": "" }), "invalid_connection_selector"),
        (&olivia, json!({ "provider": "" }), "invalid_connection_selector"),
        (&olivia, json!({ "connection_id": "conn_demo", "provider": "" }), "invalid_connection_selector"),
        (&olivia, json!({ "connection_id": "conn_unknown" }), "connection_invalid"),
        (&olivia, json!({ "connection_id": "conn_theirs" }), "connection_invalid"),
        (&olivia, json!({ "connection_id": "../conn_demo" }), "connection_invalid"),
        (&olivia, json!({ "provider": "unknown" }), "connection_invalid"),
        (&olivia, json!({ "provider": "quiet" }), "connection_invalid"),
        (&olivia, json!({ "connection_id": "conn_unlinked" }), "connection_unlinked"),
        (&olivia, json!({ "provider": "unlinked" }), "connection_unlinked"),
        (&quiet, json!({ "organization_id": "org_quiet" }), "connection_unlinked"),
        (&olivia, json!({ "provider": "two" }), "connection_strategy_invalid"),
        (&olivia, json!({ "organization_id": "org_demo" }), "ambiguous_connection_selector"),
        (&olivia, json!({ "organization_id": "org_elsewhere" }), "organization_invalid"),
        (&olivia, json!({ "organization_id": "org_unknown" }), "organization_invalid"),
        (&mallory, json!({ "organization_id": "org_demo" }), "organization_invalid"),
    ] {
        let refused = caller.post(LIST, body.clone()).await.refused(400, code);
        assert_eq!((&refused["type"], &refused["url"]), (&json!("invalid_request_error"), &Value::Null), "{body}");

        let mut by_redirect = body.clone();
        by_redirect["redirect_uri"] = json!("https://app.example.com/cb?keep=this");
        by_redirect["state"] = json!("mine & only");
        let refused = caller.post(LIST, by_redirect.clone()).await.refused(400, code);
        let url = Url::parse(refused["url"].as_str().unwrap()).unwrap();
        assert_eq!(url.as_str().split('?').next().unwrap(), "https://app.example.com/cb");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let names: Vec<&str> = pairs.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["keep", "error", "error_description", "state"], "{body}");
        assert_eq!((pairs[0].1.as_str(), pairs[1].1.as_str(), pairs[3].1.as_str()), ("this", code, "mine & only"));

        by_redirect["redirect_uri"] = json!("https://evil.example/cb");
        assert_eq!(caller.post(LIST, by_redirect).await.refused(400, "invalid_redirect_uri")["url"], Value::Null);
    }
    let without_state = json!({ "provider": "two", "redirect_uri": "https://app.example.com/cb?keep=this" });
    assert!(
        !olivia.post(LIST, without_state).await.refused(400, "connection_strategy_invalid")["url"].as_str().unwrap().contains("state=")
    );
}

#[tokio::test]
async fn without_a_default_connection_a_selector_is_needed() {
    let none = |directory: &mut Value, _| directory["default_connection"] = Value::Null;
    let world = World::with(Setup { directory: Some(Box::new(none)), ..Setup::default() }).await;
    world.olivia().post(LIST, json!({})).await.refused(400, "invalid_connection_selector");
    world.url(&world.olivia(), json!({ "provider": "demonstration" })).await;
}

#[tokio::test]
async fn the_fields_of_a_sign_in_request_are_judged_one_by_one() {
    let world = World::with(several_connections()).await;
    let olivia = world.olivia();
    let to = world.return_to();
    let challenge =
        |challenge: Value, method: Value| json!({ "redirect_uri": to, "code_challenge": challenge, "code_challenge_method": method });
    for (body, code) in [
        (json!({ "redirect_uri": 1 }), "parameter_invalid"),
        (json!({ "state": "s" }), "parameter_missing"),
        (json!({ "redirect_uri": to, "state": "x".repeat(1025) }), "parameter_invalid"),
        (json!({ "redirect_uri": to, "state": "é" }), "parameter_invalid"),
        (json!({ "redirect_uri": to, "state": "a\nb" }), "parameter_invalid"),
        (json!({ "redirect_uri": to, "state": 7 }), "parameter_invalid"),
        (json!({ "response_type": "token" }), "parameter_invalid"),
        (json!({ "response_type": "code id_token" }), "parameter_invalid"),
        (json!({ "response_type": "" }), "parameter_invalid"),
        (challenge(json!("x".repeat(42)), json!("S256")), "parameter_invalid"),
        (challenge(json!("x".repeat(129)), json!("S256")), "parameter_invalid"),
        (challenge(json!(format!("{}+", "x".repeat(42))), json!("S256")), "parameter_invalid"),
        (challenge(json!(Verifier::CHALLENGE), json!("plain")), "parameter_invalid"),
        (challenge(json!(Verifier::CHALLENGE), json!("s256")), "parameter_invalid"),
        (challenge(json!(Verifier::CHALLENGE), Value::Null), "parameter_missing"),
        (challenge(Value::Null, json!("S256")), "parameter_missing"),
        (json!({ "provider_scopes": ["openid", "sites:admin"] }), "parameter_invalid"),
        (json!({ "provider_scopes": "openid sites:admin" }), "parameter_invalid"),
        (json!({ "provider_scopes": 1 }), "parameter_invalid"),
        (json!({ "provider_scopes": ["openid email"] }), "parameter_invalid"),
        (json!({ "provider_scopes": [["openid"]] }), "parameter_invalid"),
        (json!({ "provider_query_params": [] }), "parameter_invalid"),
        (json!({ "provider_query_params": "a=b" }), "parameter_invalid"),
        (json!({ "provider_query_params": { "a": ["b"] } }), "parameter_invalid"),
        (json!({ "provider_query_params": { "a": { "b": 1 } } }), "parameter_invalid"),
        (json!({ "max_age": -1 }), "parameter_invalid"),
        (json!({ "max_age": 1.5 }), "parameter_invalid"),
        (json!({ "max_age": "60" }), "parameter_invalid"),
        (json!({ "screen_hint": "sign-out", "provider": "authkit" }), "parameter_invalid"),
        (json!({ "screen_hint": "sign-in" }), "parameter_invalid"),
        (json!({ "login_hint": 1 }), "parameter_invalid"),
        (json!({ "login_hint": "a\r\nb" }), "parameter_invalid"),
        (json!({ "domain_hint": [] }), "parameter_invalid"),
        (json!({ "prompt": true }), "parameter_invalid"),
        (json!({ "authorization_id": "x" }), "parameter_invalid"),
        (json!({ "authorization_id": 1 }), "parameter_invalid"),
        (json!({ "connection_id": 1 }), "parameter_invalid"),
        (json!({ "nonce": "n" }), "parameter_unknown"),
        (json!({ "scope": "openid" }), "parameter_unknown"),
        (json!({ "user_id": "usr_ben" }), "parameter_unknown"),
    ] {
        let answer = olivia.post(LIST, body.clone()).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some(code)), "{body}");
        answer.refused(400, code);
    }
    let printable: String = (0x20..=0x7e).map(char::from).cycle().take(1024).collect();
    for body in [
        json!({ "redirect_uri": to, "state": printable }),
        json!({ "response_type": "code" }),
        challenge(json!("x".repeat(43)), json!("S256")),
        challenge(json!("~.-_x".repeat(25)), json!("S256")),
        json!({ "code_challenge": Verifier::CHALLENGE, "code_challenge_method": "S256" }), // means nothing in direct mode
        json!({ "screen_hint": "sign-up", "provider": "authkit" }),
        json!({ "max_age": 0 }),
        json!({ "authorization_id": UNKNOWN }),
    ] {
        assert_eq!(olivia.post(LIST, body.clone()).await.status, 200, "{body}");
    }
    let answer = olivia.post(&format!("{LIST}?dry_run=true"), json!({})).await;
    answer.refused(400, "parameter_unknown"); // rather than ignore what means something elsewhere
    let url = world.url(&olivia, json!({ "max_age": 0 })).await;
    assert!(url.contains("&max_age=0"), "zero is a value: {url}");
    let url = world.url(&olivia, json!({ "login_hint": "", "domain_hint": "", "prompt": "" })).await;
    assert!(["login_hint", "domain_hint", "prompt"].iter().all(|hint| !url.contains(hint)), "nothing is emitted empty: {url}");
}

#[tokio::test]
async fn s11_reserved_parameters_cannot_be_set_or_injected() {
    let world = World::start().await;
    let olivia = world.olivia();
    for name in [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "STATE",
        "request",
        "request_uri",
        "response_mode",
        "client_secret",
        "login_hint",
        "prompt",
        "max_age",
    ] {
        olivia.post(LIST, json!({ "provider_query_params": { name: "x" } })).await.refused(400, "parameter_reserved");
    }
    let evil = "x&state=evil&client_id=evil#frag?a=b;c=d%26e +é";
    let body = json!({ "login_hint": evil, "domain_hint": evil, "prompt": evil, "provider_query_params": { "a&state": evil, "b": 1, "c": true, "d": 0.5, "e": "" } });
    let url = Url::parse(&world.url(&olivia, body).await).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let of = |name: &str| pairs.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!(of("client_id"), ["mandate-demonstration"]);
    assert_eq!(of("state").len(), 1);
    for name in ["login_hint", "domain_hint", "prompt", "a&state"] {
        assert_eq!(of(name), [evil]);
    }
    assert_eq!((of("b"), of("c"), of("d"), of("e")), (vec!["1"], vec!["true"], vec!["0.5"], vec![]));
    assert_eq!(url.fragment(), None);
}

#[tokio::test]
async fn s05_a_sign_in_url_has_pkce_nonce_a_fixed_order_and_nothing_empty_or_twice() {
    let world = World::start().await;
    let olivia = world.olivia();
    let body = json!({
        "redirect_uri": world.return_to(), "state": "s", "prompt": "consent", "max_age": 60, "login_hint": "ops@example.com", "domain_hint": "example.com",
        "provider_query_params": { "zebra": "1", "alpha": "2" }, "provider_scopes": "email,sites:write offline_access",
    });
    let urls = [world.url(&olivia, body.clone()).await, world.url(&olivia, body).await];
    let read = |url: &str| Url::parse(url).unwrap().query_pairs().into_owned().collect::<Vec<(String, String)>>();
    let (first, second) = (read(&urls[0]), read(&urls[1]));
    let names: Vec<&str> = first.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(
        names,
        [
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "code_challenge",
            "code_challenge_method",
            "nonce",
            "login_hint",
            "domain_hint",
            "prompt",
            "max_age",
            "alpha",
            "zebra"
        ]
    );
    let of = |name: &str| first.iter().find(|(n, _)| n == name).unwrap().1.as_str();
    assert_eq!(of("response_type"), "code");
    assert_eq!(of("redirect_uri"), format!("{}{LIST}/callback/conn_demo", world.base()));
    assert_eq!(of("scope"), "email offline_access openid sites:write");
    assert_eq!(of("code_challenge_method"), "S256");
    assert_eq!((of("code_challenge").len(), of("max_age")), (43, "60"));
    assert!(of("nonce").len() >= 22 && of("state").len() >= 100);
    assert!(urls[0].starts_with(&format!("{}/authorize?", world.stack.sign_in().issuer())));
    for ((name, one), (_, other)) in first.iter().zip(&second) {
        assert!(!one.is_empty(), "{name}");
        assert_eq!(
            one != other,
            ["state", "code_challenge", "nonce"].contains(&name.as_str()),
            "{name} is new each time, the others are not"
        );
    }
    let query = urls[0].split_once('?').unwrap().1;
    assert!(query.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%&=".contains(&b)), "every value is percent-encoded: {query}");
    assert!(!query.contains(of("code_challenge").trim_end_matches('=')) || query.matches("code_challenge=").count() == 1);
}

#[tokio::test]
async fn s02_every_state_is_new() {
    let world = World::start().await;
    let olivia = world.olivia();
    let mut states = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let url = Url::parse(&world.url(&olivia, json!({})).await).unwrap();
        for (name, value) in url.query_pairs().filter(|(n, _)| ["state", "nonce", "code_challenge"].contains(&n.as_ref())) {
            assert!(states.insert((name.into_owned(), value.into_owned())));
        }
    }
    assert_eq!(states.len(), 600);
}

#[tokio::test]
async fn s13_a_sign_in_url_is_short() {
    let world = World::with(several_connections()).await;
    let olivia = world.olivia();
    let ordinary = json!({ "redirect_uri": "https://app.example.com/automation/authorizations", "state": "0123456789abcdef0123456789abcdef", "login_hint": "ops@example.com" });
    let url = world.url(&olivia, ordinary).await;
    assert!(url.len() <= 1_500, "{}", url.len());
    let longest: String = (0x20..=0x7e).map(char::from).cycle().take(1024).collect();
    let body = json!({
        "redirect_uri": "https://app.example.com/automation/authorizations", "state": longest,
        "code_challenge": "x".repeat(128), "code_challenge_method": "S256", "login_hint": "ops@example.com",
    });
    let url = world.url(&olivia, body).await;
    assert!(url.len() <= 4_000, "{}", url.len());
    let state = Url::parse(&url).unwrap().query_pairs().find(|(n, _)| n == "state").unwrap().1.into_owned();
    assert!(state.len() + 2_048 <= 10_240, "the callback's line and headers fit the gateway");
}

#[tokio::test]
async fn a_connection_without_openid_has_no_nonce_and_keeps_its_endpoints_own_query() {
    let world = World::with(several_connections()).await;
    let url = world.url(&world.olivia(), json!({ "connection_id": "conn_two_a", "provider_scopes": ["workflow"] })).await;
    let pairs: Vec<(String, String)> = Url::parse(&url).unwrap().query_pairs().into_owned().collect();
    let names: Vec<&str> = pairs.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(
        names,
        ["tenant", "response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "audience"]
    );
    assert_eq!(pairs[4].1, "workflow");
    let url = world.url(&world.olivia(), json!({ "provider": "authkit", "screen_hint": "sign-up" })).await;
    assert!(url.starts_with("https://api.workos.example/user_management/authorize?"), "{url}");
    for part in ["provider=authkit", "screen_hint=sign-up", "code_challenge_method=S256", "response_type=code"] {
        assert!(url.contains(part), "{part} in {url}");
    }
}

#[tokio::test]
async fn s16_a_redirect_uri_is_matched_exactly_and_yields_no_url_if_it_is_not() {
    let world = World::start().await;
    let olivia = world.olivia();
    for good in [
        "https://app.example.com/automation/authorizations",
        "HTTPS://APP.EXAMPLE.COM/automation/authorizations",
        "https://app.example.com./automation/authorizations",
        "https://app.example.com:443/automation/authorizations",
        "http://localhost:1/automation/authorizations",
        "http://localhost:65535/automation/authorizations",
        "http://127.0.0.1:5000/app/return",
    ] {
        assert_eq!(olivia.post(LIST, json!({ "redirect_uri": good })).await.status, 200, "{good}");
    }
    for bad in [
        "",
        "app.example.com",
        "/automation/authorizations",
        "//app.example.com/automation/authorizations",
        "http://app.example.com/automation/authorizations",
        "https://app.example.com/automation/authorizations/",
        "https://app.example.com/Automation/authorizations",
        "https://app.example.com/automation/authorizations?x=1",
        "https://app.example.com/automation/authorizations#x",
        "https://app.example.com/automation/authorizations#",
        "https://app.example.com:8443/automation/authorizations",
        "https://user@app.example.com/automation/authorizations",
        "https://user:pass@app.example.com/automation/authorizations",
        "https://app.example.com@evil.example/automation/authorizations",
        "https://app.example.com.evil.example/automation/authorizations",
        "https://evil.example/automation/authorizations",
        "https://app.example.com/automation/../automation/authorizations",
        "https://app.example.com/automation/%2e%2e/automation/authorizations",
        "https://app.example.com/automation%2Fauthorizations",
        "https://app.example.com\\automation\\authorizations",
        "https:\\\\app.example.com/automation/authorizations",
        "https:app.example.com/automation/authorizations",
        "https:///app.example.com/automation/authorizations",
        " https://app.example.com/automation/authorizations",
        "https://app.example.com/automation/authorizations ",
        "https://app.example.com/auto\tmation/authorizations",
        "https://app.example.com/automation/authorizations\n",
        "https://*.example.com/automation/authorizations",
        "http://localhost:*/automation/authorizations",
        "http://localhost.evil.example:80/automation/authorizations",
        "http://127.0.0.2:5000/app/return",
        "http://0x7f.1:5000/app/returned",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "blob:https://app.example.com/x",
        "vbscript:x",
    ] {
        let refused = olivia.post(LIST, json!({ "redirect_uri": bad, "state": "s" })).await.refused(400, "invalid_redirect_uri");
        assert_eq!(refused["url"], Value::Null, "{bad}");
    }
}

#[tokio::test]
async fn a_workflow_called_authorization_is_a_workflow_like_any_other() {
    let world = World::start().await;
    let olivia = world.olivia();
    let id = world.authorize(&olivia, "usr_olivia").await;
    let path = "/workflows/authorization/authorization";
    olivia.put(path, json!({ "authorization_id": id })).await.is(200);
    assert_eq!(olivia.get(path).await.is(200)["workflow_id"], "authorization");
    olivia.delete(path).await.is(204);
    olivia.delete(&format!("{LIST}/{id}")).await.is(204);
}
