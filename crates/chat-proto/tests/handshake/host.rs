use chat_proto::handshake::{HostPolicy, Refusal, host_name};

use crate::request::Request;

#[test]
fn a_value_of_host_is_a_host_with_an_optional_port() {
    for (value, host) in [
        ("chat.example", "chat.example"),
        ("chat.example.:8080", "chat.example."),
        ("xn--9n2bp8q.example", "xn--9n2bp8q.example"),
        ("chat_1", "chat_1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("h:", "h"),
    ] {
        assert_eq!(host_name(value), Some(host), "{value}");
    }
    for value in [
        "", ":80", "a@h", "h, evil", "h,evil", "h evil", "h/", "h?x", "h#x", "h:x", "h:+1", "h:65536",
        "h:1:2", "::1", "[::1", "[::1]x", "[h]", "%68", "홍", "h\\evil",
    ] {
        assert_eq!(host_name(value), None, "{value}");
    }
}

#[test]
fn a_local_server_serves_only_its_names() {
    let hosts = HostPolicy::LocalOr(vec!["Chat.test".to_owned()]);
    let served =
        ["127.0.0.1", "127.0.0.1:8080", "[::1]:80", "10.0.0.7", "localhost", "LOCALHOST.:80", "chat.test:1"];
    for host in served {
        assert_eq!(hosts.check(&Request::good().set("Host", host).head()), Ok(()), "{host}");
    }
    for host in ["evil.example", "localhost.evil", "127.0.0.1.evil", "chat.test.evil"] {
        let request = Request::good().set("Host", host);
        assert_eq!(hosts.check(&request.head()), Err(Refusal::HostForbidden), "{host}");
        assert_eq!(HostPolicy::Any.check(&request.head()), Ok(()), "{host}");
    }
    assert_eq!(hosts.check(&Request::good().without("Host").head()), Ok(()));
}

#[test]
fn a_local_server_serves_no_malformed_host() {
    let hosts = HostPolicy::LocalOr(vec!["Chat.test".to_owned()]);
    for host in ["a@localhost", "localhost, evil", "localhost:x", "h evil", ""] {
        let request = Request::good().set("Host", host);
        assert_eq!(hosts.check(&request.head()), Err(Refusal::BadRequest), "{host}");
    }
    let twice = Request::good().set("Host", "localhost").with("Host", "localhost");
    assert_eq!(hosts.check(&twice.head()), Err(Refusal::BadRequest));
}

#[test]
fn a_target_without_a_path_reaches_no_route() {
    for target in ["*", "h:1", "", "http://h/ws"] {
        let request = Request::good().target(target);
        assert_eq!(HostPolicy::Any.check(&request.head()), Err(Refusal::BadRequest), "{target}");
    }
}
