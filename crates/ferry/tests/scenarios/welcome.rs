//! The image that is built in needs no network and no library.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use ferry_testkit::{Sandbox, eventually};

#[test]
fn the_built_in_image_answers() {
    let sandbox = Sandbox::start();
    let binary = std::fs::read(sandbox.command(&[]).get_program()).unwrap();
    if binary.windows(9).any(|window| window == b"/ld-linux")
        && std::env::var_os("FERRY_TESTS_COMPLETE").is_none()
    {
        eprintln!(
            "SKIPPED: the binary under test is not static, it cannot run in an image without libraries"
        );
        return;
    }
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "welcome",
        "-p",
        "127.0.0.1::80",
        "-m",
        "64m",
        "ferry/welcome",
    ]);
    let address = sandbox.ok(&["port", "welcome", "80"]);
    let page = eventually("the page comes", || {
        let mut stream = TcpStream::connect(&address).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        (!page.is_empty()).then_some(page)
    });
    let host = sandbox.inspect("welcome", "{{.Config.Hostname}}");
    let own = sandbox.inspect("welcome", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    for fact in [&host, &own, "64 MiB", "1, and one to write to"] {
        assert!(page.contains(fact), "{fact} is not in {page}");
    }
    assert!(sandbox.ok(&["exec", "welcome", "/ferry", "welcome", "--show"]).contains(&host));
    eventually("it says who came", || {
        sandbox.ok(&["logs", "welcome"]).contains("GET / HTTP/1.0").then_some(())
    });
}
