//! What is said of a variable: name, spelling, default, meaning.

/// One variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// How its value is spelled.
    pub kind: Kind,
    /// What holds when it is unset or empty.
    pub default: Preset,
    /// What it means, in one sentence or a few.
    pub meaning: &'static str,
    /// How to choose a value; empty where there is nothing to tune.
    pub advice: &'static str,
}

impl Key {
    /// Whether the value must never be shown. Such a variable can also be given as `NAME_FILE`.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::SecretUrl | Kind::HmacKey)
    }
}

/// How a value is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Go's duration grammar, greater than zero.
    Duration,
    /// Go's duration grammar, not negative; `0` turns the limit off or the wait away.
    DurationOrZero,
    /// Go's boolean set.
    Boolean,
    /// A whole number of things, greater than zero.
    Count,
    /// A whole number of things; `0` asks for none.
    CountOrZero,
    /// A whole number of bytes, greater than zero.
    Bytes,
    /// An IP address.
    Address,
    /// A TCP port.
    Port,
    /// An IP address and a port.
    SocketAddress,
    /// An absolute URL without secrets.
    Url,
    /// A comma separated list of such entries.
    List(&'static str),
    /// The path of a file.
    File,
    /// The path of a directory.
    Directory,
    /// The address of a Unix socket.
    UnixSocket,
    /// A secret text.
    Secret,
    /// A URL that may hold a password.
    SecretUrl,
    /// A hexadecimal key of at least 32 bytes.
    HmacKey,
}

impl Kind {
    /// The kind in words, for documentation.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Choice(words) => words.join(" or "),
            Self::Duration => "duration".to_owned(),
            Self::DurationOrZero => "duration or 0".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Count => "integer".to_owned(),
            Self::CountOrZero => "integer or 0".to_owned(),
            Self::Bytes => "integer (bytes)".to_owned(),
            Self::Address => "IP address".to_owned(),
            Self::Port => "port".to_owned(),
            Self::SocketAddress => "address:port".to_owned(),
            Self::Url => "URL".to_owned(),
            Self::List(of) => format!("list of {of}"),
            Self::File => "file path".to_owned(),
            Self::Directory => "directory path".to_owned(),
            Self::UnixSocket => "path or @name".to_owned(),
            Self::Secret => "secret text".to_owned(),
            Self::SecretUrl => "secret URL".to_owned(),
            Self::HmacKey => "secret key (hex)".to_owned(),
        }
    }
}

/// What holds when a variable is unset or empty.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// Nothing does: the process refuses to start.
    Required,
    /// There is no value, which means this.
    Unset(&'static str),
    /// This text, read with the variable's own grammar.
    Value(&'static str),
    /// One text in production and another in development.
    PerMode {
        /// In production.
        production: &'static str,
        /// In development.
        dev: &'static str,
    },
}

impl Preset {
    /// The text that stands in for a value.
    pub(crate) fn text(self, in_dev: bool) -> Option<&'static str> {
        match self {
            Self::Required | Self::Unset(_) => None,
            Self::Value(text) => Some(text),
            Self::PerMode { production, dev } => Some(if in_dev { dev } else { production }),
        }
    }
}

/// Variables that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// What the reader should know before the table.
    pub intro: &'static str,
    /// The variables, in reading order.
    pub keys: &'static [Key],
}

/// Declares a section and its variables: name, kind, preset, meaning, and where there is something
/// to tune, advice.
macro_rules! section {
    ($section:ident: $title:literal, $intro:literal; $(
        $name:ident: $kind:ident $(($of:expr))?, $preset:ident $(($value:expr))? $({ $($field:ident: $text:literal),* })?,
        $meaning:literal $(, advice $advice:literal)?;
    )*) => {
        pub(crate) const $section: super::declaration::Section = super::declaration::Section {
            title: $title,
            intro: $intro,
            keys: &[$($name),*],
        };
        $(pub(crate) const $name: super::declaration::Key = super::declaration::Key {
            name: stringify!($name),
            kind: super::declaration::Kind::$kind $(($of))?,
            default: super::declaration::Preset::$preset $(($value))? $({ $($field: $text),* })?,
            meaning: $meaning,
            advice: concat!($($advice)?),
        };)*
    };
}
pub(super) use section;
