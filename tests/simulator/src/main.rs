//! The simulator as a program: for the sandbox, for other clients, for a board on the bench.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use wildcat_simulator::{Options, Simulator};

const USAGE: &str = "\
wildcat-simulator: WhatsApp's service and its phones on loopback

  --listen ADDR          loopback only; 127.0.0.1:0 by default
  --seed N               ids and keys repeat
  --ca-out FILE          write the TLS authority's certificate (PEM)
  --noise-root-out FILE  write the Noise root's public key (64 hex digits)
  --log stanzas          print every stanza, decoded, to standard error
  --help

When ready it prints one line of JSON: {\"ws\", \"https\", \"ca\", \"noiseRoot\"}.
It runs until SIGTERM or SIGINT.";

struct Args {
    options: Options,
    ca_out: Option<PathBuf>,
    noise_root_out: Option<PathBuf>,
}

fn main() -> ExitCode {
    env_logger::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wildcat-simulator: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(args) = parse(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let simulator = Simulator::start_with(args.options)?;
    let root = hex(&simulator.noise_root());
    if let Some(path) = &args.ca_out {
        std::fs::write(path, simulator.ca_pem())
            .with_context(|| format!("write {}", path.display()))?;
    }
    if let Some(path) = &args.noise_root_out {
        std::fs::write(path, format!("{root}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    let ready = json!({
        "ws": simulator.ws_url(),
        "https": simulator.https_url(),
        "ca": args.ca_out,
        "noiseRoot": root,
    });
    let mut out = std::io::stdout();
    writeln!(out, "{ready}")?;
    out.flush()?;
    until_told_to_end()?;
    // Its files go with it.
    drop(simulator);
    Ok(())
}

fn until_told_to_end() -> Result<()> {
    let (mut told, tell) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
    }
    told.read_exact(&mut [0])?;
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let mut parsed = Args {
        options: Options::default(),
        ca_out: None,
        noise_root_out: None,
    };
    while let Some(flag) = args.next() {
        if flag == "--help" || flag == "-h" {
            return Ok(None);
        }
        let value = args
            .next()
            .with_context(|| format!("{flag} needs a value, or is unknown; see --help"))?;
        match flag.as_str() {
            "--listen" => {
                parsed.options.listen = value
                    .parse::<SocketAddr>()
                    .with_context(|| format!("--listen {value}"))?;
            }
            "--seed" => {
                let seed = value.parse().with_context(|| format!("--seed {value}"))?;
                parsed.options.seed = Some(seed);
            }
            "--ca-out" => parsed.ca_out = Some(value.into()),
            "--noise-root-out" => parsed.noise_root_out = Some(value.into()),
            "--log" if value == "stanzas" => parsed.options.log_stanzas = true,
            _ => bail!("unknown: {flag} {value}; see --help"),
        }
    }
    Ok(Some(parsed))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
