//! The region that this process runs for: as AWS's own configuration says, else as the machine says.

use aws_config::imds;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use crate::session::{configured_region, http_client};

/// The region of the environment or the profile, else the one that the machine is in; `None` where neither is known. Where it
/// is not configured and the machine is none of AWS's, that takes seconds. `AWS_EC2_METADATA_DISABLED` spares them.
///
/// # Errors
/// Where the system does not let us wait for an answer.
pub fn region_here() -> std::io::Result<Option<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(async {
        match configured_region().await {
            Some(region) => Some(region),
            None => metadata_region(http_client(), None).await,
        }
    }))
}

/// What instance metadata says; `endpoint` is for tests.
async fn metadata_region(http: SharedHttpClient, endpoint: Option<&str>) -> Option<String> {
    let config = ProviderConfig::without_region().with_http_client(http);
    let client = imds::Client::builder().configure(&config).max_attempts(2);
    let client = match endpoint {
        Some(endpoint) => client.endpoint(endpoint).ok()?,
        None => client,
    };
    let asked = ImdsRegionProvider::builder().configure(&config).imds_client(client.build()).build();
    asked.region().await.map(|region| region.as_ref().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers a machine's questions about itself as EC2 does: a token first, then what is asked with it.
    fn metadata() -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(mut writer) = stream.try_clone() else { continue };
                let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let has_token =
                    headers.iter().any(|h| h.eq_ignore_ascii_case("x-aws-ec2-metadata-token: pass"));
                let (status, body) = match first.split(' ').collect::<Vec<_>>().as_slice() {
                    ["PUT", "/latest/api/token", _] => ("200 OK", "pass"),
                    ["GET", "/latest/meta-data/placement/region", _] if has_token => ("200 OK", "eu-west-3"),
                    _ => ("401 Unauthorized", ""),
                };
                let length = body.len();
                let _ = write!(
                    writer,
                    "HTTP/1.1 {status}\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\ncontent-length: {length}\r\n\
                     connection: close\r\n\r\n{body}"
                );
            }
        });
        Ok(endpoint)
    }

    #[tokio::test]
    async fn a_machine_says_which_region_it_is_in() {
        let endpoint = metadata().expect("a port");
        assert_eq!(metadata_region(http_client(), Some(&endpoint)).await.as_deref(), Some("eu-west-3"));
        assert_eq!(metadata_region(http_client(), Some("http://127.0.0.1:9")).await, None);
    }
}
