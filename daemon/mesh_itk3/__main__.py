"""`python -m mesh_itk3` is `mesh-itk3`."""

from mesh_itk3.cli import main

if __name__ == "__main__":
    main()
