//! Patterns of names that several kinds use: none of them lets a path climb, begin at the root or break a line.

/// Name of an object of Kubernetes.
pub(super) const OBJECT: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Key of a Secret or a ConfigMap.
pub(super) const KEY: &str = r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";
/// Folders below something, or nothing.
pub(super) const FOLDERS: &str = r"^([-_=a-zA-Z0-9][-._=a-zA-Z0-9]*(/[-_=a-zA-Z0-9][-._=a-zA-Z0-9]*)*)?$";
/// One word of printable ASCII: a version, an image, a commit. Whoever approves must see what is there.
pub(super) const WORD: &str = r"^[!-~]+$";
/// Object's UID.
pub(super) const UID: &str = r"^[-0-9a-zA-Z]+$";
/// One line of text as people write it: nothing that cannot be seen or typed, no space at its ends.
pub(super) const SENTENCE: &str = r"^[^\s\p{C}]([^\p{C}]*[^\s\p{C}])?$";
/// Name of a host in DNS, or an IPv4 address.
pub(super) const HOST: &str = r"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$";
/// Address of a service over HTTP: no user, no password, no query.
pub(super) const ADDRESS: &str =
    r"^https?://([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[-._~a-zA-Z0-9/]*)?$";
/// Name of a header.
pub(super) const HEADER: &str = r"^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$";
/// One line of printable ASCII.
pub(super) const LINE: &str = r"^[!-~]([ -~]*[!-~])?$";
