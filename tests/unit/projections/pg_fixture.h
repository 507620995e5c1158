// A journal, a private cluster, and a projector between them.
#pragma once

#include <gtest/gtest.h>

#include "projections/postgres/db.h"
#include "projections/postgres/private_cluster.h"
#include "projections/projections.h"
#include "tests/unit/projections/journal.h"

namespace soma::projections::test {

// A folder with a cluster, made once for the binary: initdb is most of what a test would take.
inline std::string cluster_folder() {
  static const TempFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0711));
  return folder.path().string();
}

// Each test uses a database of its own.
class PgTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = PrivateCluster::at(cluster_folder());
    const auto up = cluster_->ensure();
    ASSERT_TRUE(up) << up.error().message;
  }
  static void TearDownTestSuite() { cluster_.reset(); }

  void SetUp() override {
    ASSERT_TRUE(cluster_->ensure());
    name_ = "t" + std::to_string(++next_);
    admin().run("DROP DATABASE IF EXISTS " + name_);
    ASSERT_TRUE(admin().run("CREATE DATABASE " + name_));
    journal_ = std::make_unique<Journal>((logs_.path() / "log").string());
  }
  void TearDown() override {
    views_.reset();
    journal_.reset();
  }

  std::string url() const {
    std::string u = cluster_->url();
    return u.replace(u.find("dbname=postgres"), 15, "dbname=" + name_);
  }
  static Db& admin() {
    static std::unique_ptr<Db> db;
    const auto there = [] {
      if (db && db->run("SELECT 1")) return true;
      auto opened = Db::open(cluster_->url());
      if (opened) db = std::move(*opened);
      return opened.has_value();
    };
    if (!eventually(there)) std::abort();
    return *db;
  }
  // To look into, or tamper with, the database under test.
  std::unique_ptr<Db> direct() const {
    std::unique_ptr<Db> out;
    EXPECT_TRUE(eventually([&] {
      auto db = Db::open(url());
      if (db && (*db)->run("SET search_path = soma")) out = std::move(*db);
      return out != nullptr;
    }));
    return out;
  }
  std::string value(const std::string& sql) const {
    auto rows = direct()->query(sql, {});
    EXPECT_TRUE(rows) << (rows ? "" : rows.error().message);
    return rows && !rows->empty() ? (*rows)[0][0].value_or("NULL") : "";
  }

  void start() {
    auto views = Projections::start(journal_->log(), {url(), {}, {}});
    ASSERT_TRUE(views);
    views_ = std::move(*views);
    ASSERT_TRUE(views_->wait_ready(20'000)) << views_->health().error().message;
  }
  // Until the rows hold everything that the log holds.
  void catch_up() {
    for (std::uint32_t p = 0; p < journal_->log().partition_count(); ++p) {
      const auto end = journal_->log().end(PartitionId{p});
      ASSERT_TRUE(views_->wait_for({PartitionId{p}, Offset{end.value - 1}}, 30'000));
    }
  }
  void expect_faithful() {
    auto v = views_->verify({});
    ASSERT_TRUE(v) << v.error().message;
    EXPECT_TRUE(v->ok) << (v->differences.empty() ? "" : describe(v->differences[0]));
    EXPECT_EQ(v->wrong_actors, 0U);
  }
  static std::string describe(const Difference& d) {
    return d.kind + " " + d.table + " " + d.tenant + "/" + d.actor_type + "/" + d.actor_id + "#" +
           std::to_string(d.sequence) + " " + d.column + ": expected " + d.expected + ", found " +
           d.found;
  }

  static inline std::unique_ptr<PrivateCluster> cluster_;
  static inline int next_ = 0;
  TempFolder logs_;
  std::string name_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Projections> views_;
};

}  // namespace soma::projections::test
