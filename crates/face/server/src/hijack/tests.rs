use super::*;

/// A client and a container, each with our end and theirs.
fn pairs() -> (Client, UnixStream, UnixStream, UnixStream) {
    let (ours, client) = UnixStream::pair().expect("socket pair");
    let (container, inside) = UnixStream::pair().expect("socket pair");
    (Client::Unix { stream: ours, early: Bytes::new() }, client, container, inside)
}

#[tokio::test]
async fn output_goes_on_after_the_client_closed_its_input() {
    let (ours, mut client, container, mut inside) = pairs();
    let pump = tokio::spawn(ours.pump(container, Input::Stdin));
    client.write_all(b"question").await.expect("write");
    client.shutdown().await.expect("half-close");
    let mut question = String::new();
    inside.read_to_string(&mut question).await.expect("end of input");
    assert_eq!(question, "question");
    inside.write_all(b"answer").await.expect("write");
    drop(inside);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("end of output");
    drop(client);
    assert_eq!((answer.as_str(), pump.await.expect("no panic")), ("answer", false));
}

#[tokio::test]
async fn a_client_that_leaves_ends_it_while_the_container_is_silent() {
    let (ours, mut client, container, _inside) = pairs();
    let pump = tokio::spawn(ours.pump(container, Input::None));
    client.shutdown().await.expect("half-close");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!pump.is_finished(), "a half-close is not the end");
    drop(client);
    let ended = tokio::time::timeout(Duration::from_secs(5), pump).await;
    assert!(!ended.expect("ends").expect("no panic"));
}

#[tokio::test]
async fn early_bytes_are_input_and_detach_keys_leave() {
    let (ours, mut client, container, mut inside) = pairs();
    let Client::Unix { stream, .. } = ours else { panic!("unix") };
    let ours = Client::Unix { stream, early: Bytes::from_static(b"early ") };
    let keys = DetachKeys::parse("").expect("default");
    let pump = tokio::spawn(ours.pump(container, Input::Terminal(keys)));
    client.write_all(b"bird\x10\x11lost").await.expect("write");
    assert_eq!(client.read(&mut [0; 8]).await.expect("closed"), 0);
    drop(client);
    assert!(pump.await.expect("no panic"));
    let mut input = String::new();
    inside.read_to_string(&mut input).await.expect("read");
    assert_eq!(input, "early bird");
}

#[tokio::test]
async fn a_container_that_reads_no_more_still_speaks() {
    let (ours, mut client, container, mut inside) = pairs();
    let pump = tokio::spawn(ours.pump(container, Input::Stdin));
    // The container closes its standard input only.
    let raw = inside.as_fd().try_clone_to_owned().expect("dup");
    rustix::net::shutdown(&raw, rustix::net::Shutdown::Read).expect("shutdown");
    client.write_all(&[b'x'; 1024]).await.expect("write");
    inside.write_all(b"still here").await.expect("write");
    drop((inside, raw));
    let mut output = String::new();
    client.read_to_string(&mut output).await.expect("read");
    drop(client);
    assert_eq!((output.as_str(), pump.await.expect("no panic")), ("still here", false));
}
