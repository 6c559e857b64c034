//! Where things are inside the pods of our Jobs.

/// Folder with the agent's program, copied there by the init container.
pub const PROGRAM_DIR: &str = "/switchback";
/// The agent's program in that folder.
pub const PROGRAM: &str = "/switchback/switchback-agent";
/// Folder with the files of the database's Secret: `host`, `port`, `dbname`, `username`, `password`, `sslmode`,
/// `ca.crt`; the last three are optional.
pub const DATABASE_SECRET: &str = "/secrets/database";
/// Folder with one folder per further role at the same server, each like [`DATABASE_SECRET`].
pub const ROLE_SECRETS: &str = "/secrets/roles";
/// Folder with one folder per storage: the files `accessKeyId`, `secretAccessKey` and optionally `sessionToken`,
/// `ca.crt`.
pub const STORAGE_SECRETS: &str = "/secrets/storage";
/// Folder with one folder per storage that is a volume.
pub const STORAGE_VOLUMES: &str = "/storage";
/// Folder with the files of a ConfigMap of migrations.
pub const MIGRATIONS: &str = "/migrations";
/// Folder in memory for what must be a file: libpq's passfile.
pub const MEMORY: &str = "/run/switchback";
/// Folder that the pod's main container and its scratch container share: their socket.
pub const SCRATCH_SOCKETS: &str = "/run/scratch";
/// Folder with the files by which the restored copy is reached, like those of a database's Secret.
pub const SCRATCH_DATABASE: &str = "/run/scratch/database";
/// Port on loopback at which the old version's pod finds the restored copy.
pub const SCRATCH_PORT: u16 = 5432;
/// Folder of the scratch server's data, in the scratch container only.
pub const SCRATCH_DATA: &str = "/scratch";
/// Folder with one folder per ConfigMap of certificate authorities that checks trust: the file `ca.crt`.
pub const AUTHORITIES: &str = "/authorities";
