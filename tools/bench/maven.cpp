// A pom of nothing but dependencies, and the compiler.
#include "tools/bench/maven.h"

#include <boost/algorithm/string.hpp>
#include <fstream>
#include <iostream>
#include <iterator>

#include "tools/bench/peer_folder.h"

namespace soma::bench {

namespace fs = std::filesystem;

namespace {

std::string pom(const MavenPeer& peer) {
  std::string out =
      "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n"
      "<groupId>somastack</groupId><artifactId>bench</artifactId><version>1</version>"
      "<packaging>pom</packaging>\n<dependencies>\n";
  for (const auto& artifact : peer.artifacts) {
    std::vector<std::string> parts;
    boost::split(parts, artifact, boost::is_any_of(":"));
    out += "<dependency><groupId>" + parts.at(0) + "</groupId><artifactId>" + parts.at(1) +
           "</artifactId><version>" + parts.at(2) + "</version>" +
           (parts.size() > 3 ? "<type>" + parts[3] + "</type>" : "") + "</dependency>\n";
  }
  return out + "</dependencies>\n</project>\n";
}

Status fetch(const MavenPeer& peer, const fs::path& work) {
  std::cerr << "bench: fetching " << peer.what << " with Maven, once" << std::endl;
  if (auto ok = write_text(work / "pom.xml", pom(peer)); !ok) return ok;
  const std::string log = (work / "maven.log").string();
  if (ended_well({"mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime",
                  "-DoutputDirectory=jars"},
                 work.string(), log))
    return {};
  return fail(Code::kUnavailable, "Maven could not fetch " + peer.what + " (see " + log +
                                      "); maven and openjdk-17-jdk-headless are needed");
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

Result<JavaProgram> installed(const MavenPeer& peer) {
  auto folder = peer_folder(peer.folder, [&](const fs::path& work) { return fetch(peer, work); });
  if (!folder) return tl::unexpected(folder.error());
  const std::string jars = (*folder / "jars").string() + "/*";
  const fs::path classes = *folder / "classes", source = *folder / (peer.name + ".java");
  const JavaProgram out{*folder, classes.string() + ":" + jars};
  if (fs::exists(classes / (peer.name + ".class")) && text_of(source) == peer.program) return out;
  std::error_code ignored;
  fs::remove_all(classes, ignored);
  if (auto ok = write_text(source, peer.program); !ok) return tl::unexpected(ok.error());
  const std::string log = (*folder / "javac.log").string();
  if (ended_well({"javac", "-d", classes.string(), "-cp", jars, source.string()}, folder->string(),
                 log))
    return out;
  return fail(Code::kUnavailable, "the program of " + peer.what + " did not compile (see " + log +
                                      "); openjdk-17-jdk-headless is needed");
}

}  // namespace soma::bench
