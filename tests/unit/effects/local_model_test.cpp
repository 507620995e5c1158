// The real model in its real child. Needs what tools/setup makes.
#include "runtime/effects/local_model.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "runtime/effects/slm_client.h"

namespace soma::runtime {
namespace {

using namespace std::chrono_literals;
constexpr auto kPatience = 60s;

class LocalModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string cache = model_cache_folder();
    chat.server = embed.server = cache + "/bin/llama-server";
    chat.model = cache + "/models/smollm2-135m-instruct-q4_1.gguf";
    chat.name = "smollm2-135m-instruct";
    embed.model = cache + "/models/all-minilm-l6-v2-f16.gguf";
    embed.name = "all-minilm-l6-v2";
    embed.embedding = true;
    for (const auto& file : {chat.server, chat.model, embed.model})
      ASSERT_TRUE(std::filesystem::exists(file))
          << file << " is missing: run tools/setup first (tools/test does)";
    folder =
        std::filesystem::temp_directory_path() / ("soma-local-model-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    chat.log_file = folder / "chat.log";
    embed.log_file = folder / "embed.log";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  Result<SlmEndpoint> ready(const LocalModel& model) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    auto e = model.endpoint();
    while (!e && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
      e = model.endpoint();
    }
    return e;
  }

  static v1::ModelRequest question(const std::string& text, std::uint32_t max_tokens) {
    v1::ModelRequest r;
    r.set_call_id("q");
    auto* system = r.add_messages();
    system->set_role("system");
    system->set_content("You are a helpful assistant. Answer in one short sentence.");
    auto* m = r.add_messages();
    m->set_role("user");
    m->set_content(text);
    r.mutable_sampling()->set_max_tokens(max_tokens);
    r.mutable_sampling()->set_has_temperature(true);
    return r;
  }

  Result<v1::ModelAnswer> ask(const SlmEndpoint& e, const v1::ModelRequest& r,
                              SlmClient::OnToken on_token = {}) {
    auto promise = std::make_shared<std::promise<Result<v1::ModelAnswer>>>();
    auto future = promise->get_future();
    client->chat(e, r, {}, std::move(on_token),
                 [promise](Result<v1::ModelAnswer> a) { promise->set_value(std::move(a)); });
    if (future.wait_for(kPatience) != std::future_status::ready)
      return fail(Code::kInternal, "TEST: no outcome came");
    return future.get();
  }

  LocalModelOptions chat, embed;
  std::filesystem::path folder;
  std::unique_ptr<SlmClient> client = SlmClient::create();
};

TEST_F(LocalModelTest, AnswersOverItsDeathAndComesBack) {
  auto model = LocalModel::start(chat);
  ASSERT_TRUE(model) << model.error().message;
  auto endpoint = ready(**model);
  ASSERT_TRUE(endpoint) << endpoint.error().message;

  // What it says depends on the processor's rounding; tools/setup tries what it knows.
  auto answer = ask(*endpoint, question("What is the capital of France?", 200));
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_FALSE(answer->output().empty());
  EXPECT_EQ(answer->finish_reason(), "stop");
  EXPECT_EQ(answer->provider(), "local");
  EXPECT_EQ(answer->model(), "smollm2-135m-instruct");
  EXPECT_GT(answer->usage().completion_tokens(), 0u);
  EXPECT_FALSE(answer->usage().estimated());

  // Killed in the middle of its answer: an error, never half an answer.
  const int pid = (*model)->pid();
  ASSERT_GT(pid, 0);
  int tokens = 0;
  auto cut = ask(*endpoint, question("Tell me a very long story about the sea.", 1000),
                 [&](std::uint32_t, const std::string&) {
                   if (++tokens == 3) ::kill(pid, SIGKILL);
                 });
  ASSERT_FALSE(cut) << "half an answer counted as one: " << cut->output();
  EXPECT_EQ(cut.error().code, Code::kModelUnavailable);
  EXPECT_GE(tokens, 3);

  // The next call waits for the child's return and is answered; on a busy machine the one after it.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  Result<SlmEndpoint> back = tl::unexpected(Error{});
  while (!back && std::chrono::steady_clock::now() < until) {
    std::promise<Result<SlmEndpoint>> again;
    auto future = again.get_future();
    client->when_ready(
        [&] {
          return (*model)->pid() == pid ? Result<SlmEndpoint>(tl::unexpected(
                                              Error{Code::kModelUnavailable, "dying", {}, 1}))
                                        : (*model)->endpoint();
        },
        [&](Result<SlmEndpoint> e) { again.set_value(std::move(e)); });
    ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
    back = future.get();
  }
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_NE((*model)->pid(), pid);
  EXPECT_TRUE(ask(*back, question("Say hello.", 40)));
}

TEST_F(LocalModelTest, AsksForItsKeyAndDiesWithItsOwner) {
  auto model = LocalModel::start(chat);
  ASSERT_TRUE(model);
  auto endpoint = ready(**model);
  ASSERT_TRUE(endpoint);
  const int pid = (*model)->pid();
  endpoint->api_key = "guess";
  auto answer = ask(*endpoint, question("hello", 5));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kInvalidArgument);
  model->reset();
  EXPECT_NE(::kill(pid, 0), 0);  // reaped, not only told
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    EXPECT_NE(entry.path().extension(), ".key") << "the key outlived its server";
}

TEST_F(LocalModelTest, EmbedsByMeaningAndReadsLongTexts) {
  auto model = LocalModel::start(embed);
  ASSERT_TRUE(model) << model.error().message;
  auto endpoint = ready(**model);
  ASSERT_TRUE(endpoint) << endpoint.error().message;
  std::string book;
  while (book.size() < 20'000) book += "The harbour lay quiet under the rain. ";
  std::promise<Result<v1::EmbedResult>> promise;
  client->embed(*endpoint,
                {"The cat sleeps on the sofa", "A kitten naps on the couch",
                 "Interest rates rose again", book},
                [&](Result<v1::EmbedResult> r) { promise.set_value(std::move(r)); });
  auto future = promise.get_future();
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  auto r = future.get();
  ASSERT_TRUE(r) << r.error().message;
  const auto dot = [&](int a, int b) {
    double sum = 0;
    for (int i = 0; i < r->embeddings(a).values_size(); ++i)
      sum += static_cast<double>(r->embeddings(a).values(i)) * r->embeddings(b).values(i);
    return sum;
  };
  EXPECT_EQ(r->embeddings(0).values_size(), 384);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(dot(i, i), 1, 1e-4);
  EXPECT_GT(dot(0, 1), dot(0, 2) + 0.2);
}

TEST_F(LocalModelTest, WhatIsMissingIsNamed) {
  chat.model = folder / "nothing.gguf";
  auto model = LocalModel::start(chat);
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, Code::kNotFound);
  EXPECT_NE(model.error().message.find("nothing.gguf"), std::string::npos);
}

TEST_F(LocalModelTest, AFileThatIsNoModelIsTriedAgainWithoutHaste) {
  chat.model = folder / "broken.gguf";
  ASSERT_TRUE(std::ofstream(chat.model) << "not a model");
  auto model = LocalModel::start(chat);
  ASSERT_TRUE(model);
  std::promise<Result<SlmEndpoint>> promise;
  client->when_ready([&] { return (*model)->endpoint(); },
                     [&](Result<SlmEndpoint> e) { promise.set_value(std::move(e)); });
  auto future = promise.get_future();
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  auto e = future.get();
  ASSERT_FALSE(e);
  EXPECT_EQ(e.error().code, Code::kModelUnavailable);
}

}  // namespace
}  // namespace soma::runtime
