# For nixpkgs' callPackage, from the tarball of `make dist`, which has the modules.
{ lib, buildGoModule, fetchurl, version ? "0", hash ? lib.fakeHash }:

buildGoModule {
  pname = "eic-agent";
  inherit version;
  src = fetchurl {
    url = "https://github.com/eic-agent/eic-agent/releases/download/v${version}/eic-agent-${version}.tar.gz";
    inherit hash;
  };
  vendorHash = null;

  outputs = [ "out" "emulator" ];

  buildPhase = ''
    runHook preBuild
    GOPROXY=off GOTOOLCHAIN=local make VERSION=${version}
    runHook postBuild
  '';
  # They need a host of their own.
  doCheck = false;
  installPhase = ''
    runHook preInstall
    make install-agent PREFIX=$out SYSCONFDIR=$out/etc
    make install-emulator PREFIX=$emulator
    runHook postInstall
  '';

  meta = {
    description = "EC2 Instance Connect agent for sshd and the serial console";
    homepage = "https://github.com/eic-agent/eic-agent";
    license = with lib.licenses; [ asl20 bsd3 mit ];
    platforms = [ "x86_64-linux" "aarch64-linux" ];
    mainProgram = "eicctl";
  };
}
