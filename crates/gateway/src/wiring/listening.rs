//! The listeners: which are handed over and which are bound, what the public one speaks to callers and to proxies before them.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::{Config, ProxyProtocol, ServerTls, Transport};
use forwarding::TrustedProxies;

use super::StartError;
use super::runtime::Runtime;
use crate::ingress::handed_over::{self, Expected};
use crate::ingress::listener::{Listener, Port, Speaks};
use crate::ingress::proxy_header::ProxyHeaders;
use crate::ingress::tls;
use crate::renewal::Shown;

/// The listeners whose sockets the service manager bound.
#[derive(Default)]
pub(super) struct HandedListeners {
    public: Option<Listener>,
    operator: Option<Listener>,
}

impl HandedListeners {
    /// Takes what was handed over, which is there once.
    pub(super) fn take(config: &Config) -> Result<Self, StartError> {
        let handed = config
            .manager
            .sockets
            .take()
            .map_err(handed_over::UnusableSocket::from)?;
        let public = Expected {
            name: "public",
            settings: "BIND_ADDR, PORT",
            address: Some(config.listener.address),
            is_ip_set: !config.listener.address_is_default,
        };
        let operator = Expected {
            name: "operator",
            settings: "OPERATOR_ADDR",
            address: config.operator.address,
            is_ip_set: true,
        };
        let listener = |socket, expected| handed_over::listener(socket, &expected);
        Ok(Self {
            public: handed.public.map(|socket| listener(socket, public)).transpose()?,
            operator: handed
                .operator
                .map(|socket| listener(socket, operator))
                .transpose()?,
        })
    }

    /// The public listener and the operator's own, each bound where it was not handed over.
    pub(super) fn and_bound(self, config: &Config) -> Result<(Listener, Option<Listener>), StartError> {
        let settings = &config.listener;
        let port = if settings.reuses_port {
            Port::Shared
        } else {
            Port::Own
        };
        let public = self.public.map_or_else(
            || {
                let bind = if settings.address_is_default {
                    Listener::bind_default
                } else {
                    Listener::bind
                };
                bind(settings.address, port).map_err(at(settings.address))
            },
            Ok,
        )?;
        let operator = match (self.operator, config.operator.address) {
            (Some(handed), _) => Some(handed),
            (None, Some(address)) => Some(Listener::bind(address, port).map_err(at(address))?),
            (None, None) => None,
        };
        Ok((public, operator))
    }
}

fn at(address: SocketAddr) -> impl FnOnce(std::io::Error) -> StartError {
    move |source| StartError::Bind { address, source }
}

/// What callers are spoken to in.
pub(super) fn speaks(runtime: &mut Runtime) -> Result<Speaks, StartError> {
    let Transport::Tls(server) = &runtime.config.listener.transport else {
        return Ok(Speaks::Plain);
    };
    let config = Arc::new(ArcSwap::from_pointee(tls::server_config(server)?));
    let renewed = Arc::clone(&config);
    runtime
        .renewal
        .watch(Shown::ToCallers, ServerTls::clone(server), move |server| {
            let config = tls::server_config(server).map_err(|error| format!("TLS: {error}"))?;
            renewed.store(Arc::new(config));
            Ok(())
        });
    Ok(Speaks::Tls(config))
}

/// Which proxies say first whose connection they pass on.
pub(super) fn proxy_headers(config: &Config) -> Option<Arc<ProxyHeaders>> {
    let are_required = match config.listener.proxy_protocol {
        ProxyProtocol::Off => return None,
        ProxyProtocol::Optional => false,
        ProxyProtocol::Required => true,
    };
    let trusted = TrustedProxies::new(config.listener.trusted_proxies.clone());
    Some(Arc::new(ProxyHeaders {
        trusted,
        are_required,
    }))
}
