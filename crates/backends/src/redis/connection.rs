//! A connection that ends when another server is primary.

use std::io;

use futures_util::FutureExt as _;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};

use super::term::Term;

/// A connection to Redis.
///
/// A demoted primary goes on acknowledging writes for some seconds, all of which are thrown away. So no answer of a
/// server counts once the sentinels name another one: every command, those on their way too, fails with an I/O error.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    inner: MultiplexedConnection,
    /// None where one address stands for the server.
    term: Option<Term>,
}

impl Connection {
    /// A connection to the one server there is.
    pub(super) fn lasting(inner: MultiplexedConnection) -> Self {
        Self { inner, term: None }
    }

    /// A connection to a server for as long as it is the named primary.
    pub(super) fn during(term: Term, inner: MultiplexedConnection) -> Self {
        let term = Some(term);
        Self { inner, term }
    }

    /// Completes when another server is the primary.
    pub(crate) fn replaced(&self) -> impl Future<Output = ()> + Send + use<> {
        let term = self.term.clone();
        async move {
            match term {
                Some(term) => term.over().await,
                None => std::future::pending().await,
            }
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        let answer = self.inner.req_packed_command(command);
        match &self.term {
            Some(term) => during(term, answer, is_doubtful),
            None => answer,
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        commands: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        let answers = self.inner.req_packed_commands(commands, offset, count);
        match &self.term {
            Some(term) => during(term, answers, |values| values.iter().any(is_doubtful)),
            None => answers,
        }
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// An answer, if it comes while the server is the primary. One that casts doubt on that has it asked for.
fn during<'a, T: Send + 'a>(
    term: &'a Term,
    answer: RedisFuture<'a, T>,
    is_doubtful: impl Fn(&T) -> bool + Send + 'a,
) -> RedisFuture<'a, T> {
    async move {
        let answer = tokio::select! {
            biased;
            () = term.over() => return Err(RedisError::from(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "another server is the primary now",
            ))),
            answer = answer => answer,
        };
        let doubtful = match &answer {
            Ok(answer) => is_doubtful(answer),
            Err(error) => error.is_cluster_error() || error.is_io_error() || error.is_connection_dropped(),
        };
        if doubtful {
            term.doubt();
        }
        answer
    }
    .boxed()
}

/// Whether a node of a cluster says that it does not serve the slot.
fn is_doubtful(answer: &Value) -> bool {
    match answer {
        Value::ServerError(error) => RedisError::from(error.clone()).is_cluster_error(),
        _ => false,
    }
}
