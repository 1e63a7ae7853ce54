//! Who gets which credentials.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::{Arc, OnceLock};

use fake::{
    Fake, Reply, Seen,
    image::{Image, Layer, noise, tar},
    scratch::{Scratch, client, client_with_mirrors},
};
use ferry_errkind::{ErrorKind, Kinded, chain};
use ferry_transfer::RegistryAuth;

/// `me:secret`.
const BASIC: &str = "Basic bWU6c2VjcmV0";

fn image() -> Image {
    Image::of(&[Layer::gzip(tar("a", &noise(50_000, 1))), Layer::gzip(tar("b", &noise(50_000, 2)))])
}

fn me() -> RegistryAuth {
    RegistryAuth { username: "me".into(), password: "secret".into(), ..RegistryAuth::default() }
}

fn unauthorized(challenge: impl Into<String>) -> Reply {
    Reply::error(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", challenge)
}

/// A registry that takes only tokens of the given server.
async fn bearer_registry(tokens: &Fake, image: &Image) -> Fake {
    let (image, realm) = (image.clone(), format!("http://{}/token", tokens.host()));
    Fake::start(move |seen| match seen.header("authorization") {
        Some("Bearer good") => image.reply(seen),
        _ => unauthorized(format!(
            r#"Bearer realm="{realm}",service="reg",scope="repository:app:pull""#
        )),
    })
    .await
}

async fn anonymous_tokens() -> Fake {
    Fake::start(|_| Reply::new(200, r#"{"token":"good","expires_in":300}"#)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_token_is_fetched_once() {
    let (tokens, image) = (anonymous_tokens().await, image());
    let registry = bearer_registry(&tokens, &image).await;
    let (scratch, client) = (Scratch::new(), client());
    let name = format!("{}/app", registry.host());
    scratch.pull(&client, &name).await.unwrap();
    scratch.pull(&client, &name).await.unwrap();
    let seen = tokens.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].query, "scope=repository%3Aapp%3Apull&service=reg");
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_credentials_is_nobody_elses() {
    let tokens = Fake::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Reply::new(200, r#"{"access_token":"good"}"#),
        None => Reply::new(200, r#"{"token":"weak"}"#),
        Some(_) => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
    })
    .await;
    let registry = bearer_registry(&tokens, &image()).await;
    let (scratch, client) = (Scratch::new(), client());
    let name = format!("{}/app:latest", registry.host());
    scratch.pull_as(&client, &name, None, Some(&me())).await.unwrap();
    assert!(tokens.seen()[0].query.starts_with("account=me&"));

    let error = scratch.pull(&client, &name).await.unwrap_err();
    assert_eq!(chain(&error), "unauthorized: authentication required");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);

    let wrong = RegistryAuth { password: "guess".into(), ..me() };
    let error = scratch.pull_as(&client, &name, None, Some(&wrong)).await.unwrap_err();
    let asked = format!("Head \"http://{}/v2/app/manifests/latest\"", registry.host());
    let words = format!("{asked}: unauthorized: incorrect username or password");
    assert_eq!(chain(&error), words);
    assert!(error.hint().unwrap().contains("log in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_posted() {
    let tokens = Fake::start(|seen| {
        let form = String::from_utf8(seen.body.to_vec()).unwrap();
        let good = seen.method == "POST"
            && form.contains("grant_type=refresh_token")
            && form.contains("refresh_token=id%2Ftoken")
            && form.contains("service=reg");
        if good { Reply::new(200, r#"{"access_token":"good"}"#) } else { Reply::new(400, "") }
    })
    .await;
    let registry = bearer_registry(&tokens, &image()).await;
    let auth = RegistryAuth { identity_token: "id/token".into(), ..RegistryAuth::default() };
    let name = format!("{}/app", registry.host());
    Scratch::new().pull_as(&client(), &name, None, Some(&auth)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_token_is_sent_as_it_is() {
    let tokens = Fake::start(|_| Reply::new(500, "")).await;
    let registry = bearer_registry(&tokens, &image()).await;
    let auth = RegistryAuth { registry_token: "good".into(), ..RegistryAuth::default() };
    let name = format!("{}/app", registry.host());
    Scratch::new().pull_as(&client(), &name, None, Some(&auth)).await.unwrap();
    assert!(tokens.seen().is_empty());
}

async fn basic_registry(image: Image) -> Fake {
    Fake::start(move |seen| match seen.header("authorization") {
        Some(BASIC) => image.reply(seen),
        _ => unauthorized(r#"Basic realm="reg""#),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn basic() {
    let registry = basic_registry(image()).await;
    let (scratch, client) = (Scratch::new(), client());
    let name = format!("{}/app:latest", registry.host());
    let error = scratch.pull(&client, &name).await.unwrap_err();
    let asked = format!("Head \"http://{}/v2/app/manifests/latest\"", registry.host());
    assert_eq!(chain(&error), format!("{asked}: no basic auth credentials"));
    let wrong = RegistryAuth { username: "you".into(), ..me() };
    let error = scratch.pull_as(&client, &name, None, Some(&wrong)).await.unwrap_err();
    assert_eq!(chain(&error), "unauthorized: authentication required");
    scratch.pull_as(&client, &name, None, Some(&me())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_another_registry_stay_here() {
    let registry = basic_registry(image()).await;
    let auth = RegistryAuth { server_address: "https://index.docker.io/v1/".into(), ..me() };
    let name = format!("{}/app", registry.host());
    let error = Scratch::new().pull_as(&client(), &name, None, Some(&auth)).await.unwrap_err();
    assert!(error.to_string().ends_with("no basic auth credentials"), "{error}");
    assert!(registry.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_takes_no_credentials_along() {
    let image = image();
    let served = image.clone();
    let storage = Fake::start(move |seen: &Seen| match seen.header("authorization") {
        // What object stores answer when they see both a signature and a header.
        Some(_) => Reply::new(400, ""),
        None => served.reply(seen),
    })
    .await;
    let elsewhere = format!("http://{}", storage.host());
    let served = image.clone();
    let registry = Fake::start(move |seen| {
        if seen.header("authorization") != Some(BASIC) {
            return unauthorized("Basic");
        }
        if seen.path.contains("/blobs/") {
            return Reply::new(307, "").with("location", format!("{elsewhere}{}?sig=1", seen.path));
        }
        served.reply(seen)
    })
    .await;
    let name = format!("{}/app", registry.host());
    Scratch::new().pull_as(&client(), &name, None, Some(&me())).await.unwrap();
    assert_eq!(storage.seen().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_after_a_redirect_lures_nothing_away() {
    let thief = Fake::start(|_| Reply::new(200, r#"{"token":"x"}"#)).await;
    let realm = format!("http://{}/token", thief.host());
    let storage = Fake::start(move |_| unauthorized(format!(r#"Bearer realm="{realm}""#))).await;
    let (elsewhere, image) = (format!("http://{}", storage.host()), image());
    let registry = Fake::start(move |seen| match seen.header("authorization") {
        Some(BASIC) if seen.path.contains("/blobs/") => {
            Reply::new(302, "").with("location", format!("{elsewhere}{}", seen.path))
        }
        Some(BASIC) => image.reply(seen),
        _ => unauthorized("Basic"),
    })
    .await;
    let name = format!("{}/app", registry.host());
    let error = Scratch::new().pull_as(&client(), &name, None, Some(&me())).await.unwrap_err();
    assert!(error.to_string().starts_with("error pulling image configuration: "), "{error}");
    assert!(thief.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_without_end() {
    let own: Arc<OnceLock<String>> = Arc::default();
    let (image, target) = (image(), Arc::clone(&own));
    let registry = Fake::start(move |seen| match seen.path.contains("/blobs/") {
        true => Reply::new(302, "").with("location", target.get().unwrap()),
        false => image.reply(seen),
    })
    .await;
    own.set(format!("http://{}/blobs/round", registry.host())).unwrap();
    let error = Scratch::new().pull(&client(), &format!("{}/app", registry.host())).await;
    assert!(chain(&error.unwrap_err()).ends_with("stopped after 5 redirects"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_no_credentials() {
    let mirror = Fake::start(|_| unauthorized("Basic")).await;
    let registry = basic_registry(image()).await;
    let client = client_with_mirrors(&registry.host(), &[&mirror.host()]);
    let name = format!("{}/app", registry.host());
    Scratch::new().pull_as(&client, &name, None, Some(&me())).await.unwrap();
    assert!(!mirror.seen().is_empty());
    assert!(mirror.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn logins() {
    let tokens = Fake::start(|seen| match seen.header("authorization") {
        Some(BASIC) if seen.query.contains("offline_token=true") => {
            Reply::new(200, r#"{"token":"good","refresh_token":"keep"}"#)
        }
        _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
    })
    .await;
    let image = image();
    let bearer = bearer_registry(&tokens, &image).await;
    let basic = basic_registry(image).await;
    let open = Fake::start(|_| Reply::new(200, "{}")).await;
    let at = |fake: &Fake, auth: RegistryAuth| RegistryAuth { server_address: fake.host(), ..auth };
    let wrong = || RegistryAuth { password: "guess".into(), ..me() };
    let client = client();
    for (fake, token) in [(&bearer, "keep"), (&basic, ""), (&open, "")] {
        let outcome = client.check_auth(&at(fake, me())).await.unwrap();
        assert_eq!(
            (outcome.status.as_str(), outcome.identity_token.as_str()),
            ("Login Succeeded", token)
        );
    }
    let error = client.check_auth(&at(&bearer, wrong())).await.unwrap_err();
    let url = format!("http://{}/v2/", bearer.host());
    let words = format!("Get \"{url}\": unauthorized: incorrect username or password");
    assert_eq!((chain(&error), error.kind()), (words, ErrorKind::Unauthorized));
    let error = client.check_auth(&at(&basic, wrong())).await.unwrap_err();
    let url = format!("http://{}/v2/", basic.host());
    let words = format!("login attempt to {url} failed with status: 401 Unauthorized");
    assert_eq!(chain(&error), words);
}
