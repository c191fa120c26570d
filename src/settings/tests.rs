use super::table::Kind;
use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// A build with the sandbox feature refuses the default URL, so that every test names one.
fn sandboxed(text: &str) -> String {
    format!("{text}\n[whatsapp]\nurl = \"wss://127.0.0.1:1/ws/chat\"\n")
}

fn from_file(text: &str) -> Result<Loaded, SettingsErrors> {
    resolve(
        Some((Path::new("wildcat.toml"), &sandboxed(text))),
        env(&[]),
        &[],
    )
}

fn from_env(pairs: &[(&str, &str)]) -> Result<Loaded, SettingsErrors> {
    resolve(
        Some((Path::new("wildcat.toml"), &sandboxed(""))),
        env(pairs),
        &[],
    )
}

fn errors(result: Result<Loaded, SettingsErrors>) -> Vec<String> {
    match result {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_default_is_within_its_bounds_and_shown_as_it_is_declared() {
    let mut layers = Layers::defaults();
    let settings = Settings::read(&mut layers);
    assert!(layers.errors.is_empty(), "{:?}", layers.errors);
    let shown = settings.shown();
    assert_eq!(shown.len(), SETTINGS.len());
    for (setting, shown) in SETTINGS.iter().zip(shown) {
        assert_eq!(shown, setting.default, "{}", setting.key());
        assert_eq!(
            find(&setting.key()).map(|at| SETTINGS[at].key()),
            Some(setting.key())
        );
    }
}

#[test]
fn the_output_of_check_config_reads_back() {
    let loaded = from_file("[server]\nlisten = \"[::1]:80\"\n[tls]\nextra_ca = 'a\"b\\c'").unwrap();
    let text = loaded.describe();
    let again = resolve(Some((Path::new("again.toml"), &text)), env(&[]), &[]).unwrap();
    assert_eq!(again.settings, loaded.settings);
    assert!(
        text.contains("listen = \"[::1]:80\"  # wildcat.toml:2\n"),
        "{text}"
    );
    assert!(text.contains("envelope = \"both\"  # built in\n"), "{text}");
}

#[test]
fn file_then_environment_then_flags() {
    let file = sandboxed(
        "[server]\nlisten = \"1.1.1.1:1\"\n[log]\nlevel = \"warn\"\n[limits]\nmessages_per_minute = 7",
    );
    let loaded = resolve(
        Some((Path::new("wildcat.toml"), &file)),
        env(&[
            ("WILDCAT_SERVER_LISTEN", "2.2.2.2:2"),
            ("WILDCAT_LOG_LEVEL", "debug"),
            ("WILDCAT_WHATSAPP_AUTO_CONNECT", "yes"),
            ("WILDCAT_SERVER_MAX_CONNECTIONS", "9"),
        ]),
        &[Override {
            key: "server.listen",
            flag: "--listen",
            value: "3.3.3.3:3".to_owned(),
        }],
    )
    .unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.server.listen, "3.3.3.3:3".parse().unwrap());
    assert_eq!(settings.log.level, log::LevelFilter::Debug);
    assert_eq!(settings.limits.messages_per_minute, 7);
    assert_eq!(settings.server.max_connections, 9);
    assert!(settings.whatsapp.auto_connect);
    assert_eq!(
        loaded.origin("server.listen"),
        Some(&Origin::Flag("--listen"))
    );
}

#[test]
fn names_of_wildcat_2() {
    let loaded = from_env(&[
        ("HOST", "::1"),
        ("PORT", "8080"),
        ("LOG_LEVEL", "silent"),
        ("ADMIN_NUMBER", "491701234567@s.whatsapp.net"),
        ("AUTO_CONNECT_ON_START", "true"),
    ])
    .unwrap();
    let settings = loaded.settings;
    assert_eq!(settings.server.listen, "[::1]:8080".parse().unwrap());
    assert_eq!(settings.log.level, log::LevelFilter::Off);
    assert!(settings.whatsapp.auto_connect);
    assert_eq!(
        settings.whatsapp.admin_number.unwrap().to_string(),
        "491701234567@s.whatsapp.net"
    );
    let loaded = from_env(&[("PORT", "8080")]).unwrap();
    assert_eq!(
        loaded.settings.server.listen,
        "0.0.0.0:8080".parse().unwrap()
    );
    let loaded = from_env(&[("HOST", "localhost"), ("PORT", "")]).unwrap();
    assert_eq!(
        loaded.settings.server.listen,
        "127.0.0.1:3000".parse().unwrap()
    );
    let loaded = from_env(&[("PORT", "1"), ("WILDCAT_SERVER_LISTEN", "127.0.0.1:2")]).unwrap();
    assert_eq!(loaded.settings.server.listen.port(), 2);
}

#[test]
fn unknown_names_are_errors_with_their_place() {
    let text = "[server]\nlisten = \"0.0.0.0:1\"\nlissen = 1\n[sever]\nx = 1\n";
    assert_eq!(
        errors(from_file(text)),
        [
            "wildcat.toml:3: there is no setting \"server.lissen\"",
            "wildcat.toml:5: there is no setting \"sever.x\"",
        ]
    );
    assert_eq!(
        errors(from_file("stray = 1")),
        ["wildcat.toml:1: there is no setting \"stray\""]
    );
    assert_eq!(
        errors(from_env(&[("WILDCAT_SERVER_LISSEN", "x")])),
        ["WILDCAT_SERVER_LISSEN: there is no setting of this name in the environment"]
    );
}

#[test]
fn bad_values_are_errors_with_their_place_all_at_once() {
    let text = "[server]\nlisten = \"here\"\nmax_connections = \"many\"\nrequest_timeout = 30\nmax_body = \"1 B\"\n[limits]\nmessages_per_minute = 0";
    assert_eq!(
        errors(from_file(text)),
        [
            "wildcat.toml:2: server.listen: \"here\" is not ADDRESS:PORT with a numeric address, such as \"0.0.0.0:3000\"",
            "wildcat.toml:3: server.max_connections: a whole number is expected here, not a text in quotes",
            "wildcat.toml:4: server.request_timeout: a text in quotes is expected here, not a whole number",
            "wildcat.toml:5: server.max_body: 1 B is not in 1 KiB to 64 MiB",
            "wildcat.toml:7: limits.messages_per_minute: 0 is not in 1 to 6000",
        ]
    );
    assert_eq!(
        errors(from_env(&[("PORT", "99999")])),
        [
            "PORT: server.listen: \"0.0.0.0:99999\" is not ADDRESS:PORT with a numeric address, such as \"0.0.0.0:3000\""
        ]
    );
    assert_eq!(
        errors(from_env(&[("AUTO_CONNECT_ON_START", "perhaps")])),
        ["AUTO_CONNECT_ON_START: whatsapp.auto_connect: \"perhaps\" is not true or false"]
    );
}

#[test]
fn broken_toml_names_its_line() {
    let found = errors(from_file("[server]\nlisten = \n"));
    assert!(found[0].starts_with("wildcat.toml:2: "), "{found:?}");
}

#[test]
fn a_missing_file_that_was_asked_for_is_an_error() {
    let overrides = Overrides {
        file: Some("/nowhere/wildcat.toml".into()),
        values: Vec::new(),
    };
    let found = errors(load(&overrides, env(&[])));
    assert!(
        found[0].starts_with("/nowhere/wildcat.toml: cannot be read: "),
        "{found:?}"
    );
}

#[test]
fn variables_of_a_neighbour_service_are_not_ours() {
    let found = from_env(&[
        ("WILDCAT_SERVICE_HOST", "10.0.0.1"),
        ("WILDCAT_PORT", "tcp://10.0.0.1:3000"),
        ("WILDCAT_PORT_3000_TCP_ADDR", "10.0.0.1"),
    ]);
    assert_eq!(errors(found), Vec::<String>::new());
    assert_eq!(errors(from_env(&[("WILDCAT_PORT", "3000")])).len(), 1);
}

#[test]
fn the_data_directory_is_systemds_unless_it_is_set() {
    let path = |pairs: &[(&str, &str)]| from_env(pairs).unwrap().settings.storage.path;
    assert_eq!(path(&[]), Path::new("./wildcat-data"));
    assert_eq!(path(&[("STATE_DIRECTORY", "/a:/b")]), Path::new("/a"));
    let both = [("STATE_DIRECTORY", "/a"), ("WILDCAT_STORAGE_PATH", "/c")];
    assert_eq!(path(&both), Path::new("/c"));
}

#[test]
fn a_sandbox_build_stays_on_this_machine() {
    let check = |url: &str, sandbox: bool| {
        let mut layers = Layers::defaults();
        layers.flag("whatsapp.url", url, "test");
        let settings = Settings::read(&mut layers);
        check_sandbox(&settings, &mut layers, sandbox);
        layers.errors.len()
    };
    for url in ["wss://127.0.0.1:1/", "wss://[::1]/", "wss://localhost/"] {
        assert_eq!(check(url, true), 0, "{url}");
    }
    for url in [
        "wss://web.whatsapp.com/",
        "wss://127.0.0.1.example.com/",
        "wss://10.0.0.1/",
    ] {
        assert_eq!(check(url, true), 1, "{url}");
        assert_eq!(check(url, false), 0, "{url}");
    }
    assert_eq!(check("ws://127.0.0.1/", false), 1);
}

#[test]
fn units_are_read_and_shown() {
    let read_and_shown = |kind: Kind, good: &[&str], bad: &[&str]| {
        for text in good {
            let value = values::number(text, kind).unwrap();
            assert_eq!(values::show_number(value, kind), *text);
        }
        for text in bad {
            assert!(values::number(text, kind).is_err(), "{text}");
        }
    };
    read_and_shown(
        Kind::Duration(0, u64::MAX),
        &["500ms", "30s", "5m", "1h", "0s"],
        &["", "30", "s", "1d", "-1s", "1.5s", "99999999999999999999s"],
    );
    read_and_shown(
        Kind::Size(0, u64::MAX),
        &["1 B", "64 KiB", "3 MiB"],
        &["", "64", "1 KB", "MiB", "1 GiB"],
    );
    read_and_shown(
        Kind::Space(1 << 20, 1 << 44),
        &["1 MiB", "500 MiB", "2 GiB", "16384 GiB"],
        &["", "0 MiB", "1 KiB", "16385 GiB", "GiB"],
    );
    read_and_shown(Kind::Count(1, 5), &["1", "5"], &["0", "6", "-1", "", "1s"]);
    let said = values::number("5000 MiB", Kind::Size(0, 1 << 20)).unwrap_err();
    assert!(said.ends_with(" is not in 0 B to 1 MiB"), "{said}");
    assert_eq!(values::version("2.3000.0"), Ok((2, 3000, 0)));
    for text in ["2.3000", "2.3000.0.1", "a.b.c", "2..0"] {
        assert!(values::version(text).is_err(), "{text}");
    }
}
