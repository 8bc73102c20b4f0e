#include "fs/cli/status_json.h"

#include <gtest/gtest.h>

#include <cmath>

namespace coffer::cli {
namespace {

using nlohmann::json;

TEST(StatusJson, HasWhatThePageSays) {
  SyncStatus status;
  status.waiting_bytes = 5 << 20;
  status.waiting_files = 3;
  status.upload_rate = 1 << 20;
  DeviceStatus device;
  device.name = "laptop";
  device.number = 1;
  device.when = WallTime{1'000'000'000};
  device.self = true;
  status.devices = {device};
  status.problems = {{"it rains", "Take an umbrella.", WallTime{0}}};
  json out = status_json(status, WallTime{61'000'000'000});
  EXPECT_EQ(out["waiting"]["bytes"], 5u << 20);
  EXPECT_EQ(out["devices"][0]["age_seconds"], 60.0);
  EXPECT_TRUE(out["last_published"].is_null());

  std::string text = status_text(out);
  EXPECT_NE(text.find("5.0 MiB in 3 files, 1.0 MiB/s, 5 s left"), std::string::npos) << text;
  EXPECT_NE(text.find("laptop (this one), last record 1 min 0 s ago"), std::string::npos) << text;
  EXPECT_NE(text.find("it rains"), std::string::npos);
  EXPECT_NE(text.find("Take an umbrella."), std::string::npos);
}

TEST(StatusJson, TellsWhatTheCacheTakesAndMayTake) {
  ReplicaCounters counters;
  counters.disk_bytes = 3 << 20;
  json without = {{"cache", cache_json(counters)}};
  EXPECT_TRUE(without["cache"]["limit"].is_null());
  EXPECT_NE(status_text(without).find("3.0 MiB on this disk, without a limit"), std::string::npos);
  counters.cache_limit = 64 << 20;
  counters.disk_full = true;
  json with = {{"cache", cache_json(counters)}};
  EXPECT_EQ(with["cache"]["disk_full"], true);
  EXPECT_NE(status_text(with).find("3.0 MiB on this disk, limited to 64.0 MiB"), std::string::npos)
      << status_text(with);
}

TEST(StatusJson, DevicesAreATable) {
  DeviceStatus writer;
  writer.name = "laptop";
  writer.device.bytes[0] = 0xAB;
  writer.number = 4;
  writer.records = 9;
  writer.runs = 3;
  writer.when = WallTime{86'400'000'000'000};
  writer.since = WallTime{0};
  writer.self = true;
  DeviceStatus fresh;
  fresh.name = "tower \x1b[2J";
  fresh.device = writer.device;
  fresh.device.bytes[15] = 1;  // alike but for the last digit
  fresh.let_in_by = writer.device;
  json devices = {device_json(writer, WallTime{0}), device_json(fresh, WallTime{0})};
  EXPECT_TRUE(devices[1]["when"].is_null());
  EXPECT_TRUE(devices[1]["since"].is_null());
  std::string text = devices_text(devices);
  EXPECT_NE(text.find("ab000000000000000000000000000000  laptop"), std::string::npos) << text;
  EXPECT_NE(text.find("1970-01-01T00:00:00Z  1970-01-02T00:00:00Z  9        3  [this one]\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("ab000000000000000000000000000001  tower"), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_NE(text.find("  0        0  let in by laptop\n"), std::string::npos) << text;
  devices.erase(0);
  EXPECT_NE(devices_text(devices).find("  let in by ab000000\n"), std::string::npos) << devices_text(devices);
  devices = json::array({device_json(writer, WallTime{0})});
  EXPECT_NE(devices_text(devices).find("ab000000  laptop"), std::string::npos);
}

TEST(StatusJson, TextSurvivesAnyJson) {
  for (const char* text : {"{}", "{\"devices\":5,\"problems\":{\"a\":1},\"waiting\":[]}",
                           "{\"devices\":[1,null,{}],\"problems\":[{}],\"online\":\"yes\"}"})
    EXPECT_FALSE(status_text(json::parse(text)).empty());
  for (const char* text : {"{}", "5", "[1,null,{},{\"device\":3}]"})
    EXPECT_FALSE(devices_text(json::parse(text)).empty());
}

TEST(StatusJson, NamesCannotCommandTheTerminal) {
  json status = {{"devices", {{{"name", "evil\x1b[2J\nname"}}}}};
  std::string text = status_text(status);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(StatusJson, RatesThatAreNoNumbersBecomeZero) {
  SyncStatus status;
  status.upload_rate = std::nan("");
  EXPECT_EQ(status_json(status, {})["upload_rate"], 0.0);
}

}  // namespace
}  // namespace coffer::cli
