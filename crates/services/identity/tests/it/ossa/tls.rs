//! Certificates, with servers of our own that have good and bad ones.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

/// `openssl`, which every system with PostgreSQL has.
fn openssl(directory: &Path, arguments: &str) {
    let done = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A server with the certificate `name`; its port.
fn serve(directory: &Path, name: &str) -> (Child, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-cert", &format!("{name}.crt"), "-key", "key.pem"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (child, port)
}

/// What a process that trusts our authority makes of an address. Run by the test below, with its environment.
#[tokio::test]
#[ignore = "the other half of ossa_2013_018_a_wrong_certificate_is_refused"]
async fn asks() {
    let Ok(url) = std::env::var("FERROSTACK_TEST_ASK") else { return };
    let client = ferrostack_client::ServiceClient::new(&Default::default()).unwrap();
    match client.http().get(&url).send().await {
        Ok(answer) => println!("ANSWER {}", answer.status()),
        Err(error) => println!("REFUSED {}", ferrostack_client::transport_error(error).for_log()),
    }
}

#[test]
fn ossa_2013_018_a_wrong_certificate_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("good.ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    std::fs::write(
        path.join("wrong.ext"),
        "subjectAltName=DNS:elsewhere.example\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl(
        path,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ours",
    );
    openssl(
        path,
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out server.csr -subj /CN=localhost",
    );
    for (name, extensions, days) in
        [("good", "good", "2"), ("wrong", "wrong", "2"), ("expired", "good", "-1")]
    {
        let sign = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial";
        openssl(path, &format!("{sign} -out {name}.crt -days {days} -extfile {extensions}.ext"));
    }
    openssl(path, "x509 -req -in server.csr -signkey key.pem -out alone.crt -days 2 -extfile good.ext");
    let ask = |port: u16| {
        let program = std::env::current_exe().unwrap();
        let done = Command::new(program)
            .args(["--exact", "it::ossa::tls::asks", "--ignored", "--nocapture"])
            .env("SSL_CERT_FILE", path.join("ca.crt"))
            .env("FERROSTACK_TEST_ASK", format!("https://localhost:{port}/"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    for (name, good) in [("good", true), ("wrong", false), ("expired", false), ("alone", false)] {
        let (mut child, port) = serve(path, name);
        let mut heard = String::new();
        // It listens in a moment.
        for _ in 0..50 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        heard += &ask(port);
        let _ = child.kill();
        let _ = child.wait();
        if good {
            assert!(heard.contains("ANSWER 200"), "{name}: {heard}");
        } else {
            assert!(heard.contains("REFUSED") && heard.contains("ertificate"), "{name}: {heard}");
        }
    }
}
