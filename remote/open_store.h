// From what a person writes as STORE to an ObjectStore.
//
//   /path  ./path  ../path  file:///path       a directory
//   s3://BUCKET[/PREFIX]                       an S3 bucket; endpoint, region and path_style say where
//   webdavs://HOST[:PORT]/PATH                 a WebDAV collection over TLS
//   webdav://127.0.0.1:PORT/PATH               the same in plaintext: loopback addresses only, and only when asked for
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "remote/object_store.h"
#include "remote/transfer_meter.h"

namespace coffer {

struct StoreConfig {
  std::string url;            // STORE as above; never holds credentials
  std::string endpoint = {};  // s3: https://HOST[:PORT]; empty: AWS in `region`
  std::string region = {};    // s3; empty: AWS_REGION, AWS_DEFAULT_REGION, the AWS config file, then us-east-1
  bool path_style = false;    // s3: https://HOST/BUCKET/... instead of https://BUCKET.HOST/...
  std::string ca_file = {};   // PEM; trusted instead of the system's authorities
  bool allow_plaintext_loopback = false;
  // Makes the directory or the collection itself when it is missing. `coffer init` sets it. Without it a store that is
  // not there is an error, so that an unplugged disk is not silently replaced by an empty directory.
  bool create = false;
  uint64_t upload_limit = 0, download_limit = 0;  // bytes per second, 0: none; TransferMeter::set_limits changes them
  unsigned parallel = 8;                          // transfers at once, for uploads and for everything else each
  std::chrono::milliseconds connect_timeout{15'000};
  std::chrono::milliseconds stall_timeout{30'000};  // without a single byte either way
};

// Ok when `config` makes sense, without touching the store: kInvalid with a sentence that says what to write instead.
Result<void> check_store_config(const StoreConfig& config);

// What of this machine's files the store goes on using: for whoever confines the process.
struct StoreNeeds {
  std::vector<std::string> read;   // files and directories, which need not be there
  std::vector<std::string> write;  // the same
  bool programs = false;           // a program of the user's tells the credentials, again and again
};
Result<StoreNeeds> store_needs(const StoreConfig& config);

// Makes the store. Does not contact it (S3, WebDAV): the first operation does. Credentials come from the usual places
// only: environment and AWS shared files for S3, netrc for WebDAV; they are looked for again after a refusal, so a
// person can repair them while coffer runs. `meter` counts what crosses the wire and holds the rate limits; the
// config's limits are set on it. One is made when none is given.
Result<std::unique_ptr<ObjectStore>> open_store(const StoreConfig& config,
                                                std::shared_ptr<TransferMeter> meter = nullptr);

}  // namespace coffer
